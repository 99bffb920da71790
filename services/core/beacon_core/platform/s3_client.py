"""The client of the S3 in which shared files lie, and what its errors mean to whoever set BEACON_FILES."""

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.session import get_session
from urllib3.exceptions import HTTPError

from beacon_core.domain.masking import mask
from beacon_core.platform.shared_files import SharedFilesError, SharedFilesUnavailableError

CONFIG = Config(
    connect_timeout=2,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},
    # Checksums that AWS alone knows: other servers refuse them.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
MISSING = frozenset({"404", "NoSuchKey"})
OVERTAKEN = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict", *MISSING})
"""What a server says of a condition that does not hold, or that another write is at."""
PASSING = frozenset({"ExpiredToken", "RequestTimeTooSkewed", "RequestTimeout"})
"""Errors of the client that another try may not meet."""
NO_ETAG = f'"{"0" * 32}"'
"""An ETag that no object has."""
PROBE = ".conditions"
"""An object that is never there: the server is asked to replace it."""


def client() -> Any:
    """The client of this process; AWS's variables and the pod's service account say who we are."""
    return _client(os.getpid())


def code_of(error: ClientError) -> str:
    """The server's code, such as NoSuchKey; its HTTP status where the answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def mapped_errors(address: str) -> Iterator[Any]:
    """The client; raises `SharedFilesError` or `SharedFilesUnavailableError` for what it raises in the block."""
    place = f"BEACON_FILES: {address}"
    try:
        yield client()
    except ClientError as error:
        text, refused = _meaning(error, address.removeprefix("s3://").partition("/")[0])
        raise (SharedFilesError if refused else SharedFilesUnavailableError)(f"{place}: {text}") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        text = "there are no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the service account a role"
        raise SharedFilesError(f"{place}: {text}") from error
    except SSLError as error:
        raise SharedFilesError(f"{place}: the server's certificate is refused (AWS_CA_BUNDLE)") from error
    except ValueError as error:  # such as an endpoint that is none
        raise SharedFilesError(f"{place}: AWS_ENDPOINT_URL or AWS_REGION: {mask(str(error))}") from error
    except (BotoCoreError, HTTPError) as error:
        text = f"{os.environ.get('AWS_ENDPOINT_URL', 'S3')} does not answer ({type(error).__name__})"
        raise SharedFilesUnavailableError(f"{place}: {mask(text)}") from error


@functools.cache
def check_conditions(bucket: str, prefix: str) -> None:
    """Raise `SharedFilesError` for a server that writes whatever the condition: two writers would lose rows there."""
    address = f"s3://{bucket}/{prefix}"
    with mapped_errors(address) as s3:
        try:
            s3.put_object(Bucket=bucket, Key=f"{prefix}{PROBE}", Body=b"", IfMatch=NO_ETAG)
        except ClientError as error:
            if code_of(error) in OVERTAKEN:
                return
            raise
    raise SharedFilesError(
        f"BEACON_FILES: {address}: this server does not know conditional writes (If-Match), and would lose rows that "
        "two services write at once"
    )


@functools.cache
def _client(_pid: int) -> Any:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return get_session().create_client("s3", region_name=region, config=CONFIG)


def _meaning(error: ClientError, bucket: str) -> tuple[str, bool]:
    """What the server's answer means, and whether another try would get it again."""
    code, status = code_of(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
    if code in {"NoSuchBucket", "404"}:
        return f"there is no bucket {bucket}", True
    if code in {"501", "NotImplemented"}:
        return "this server does not know conditional writes (If-Match)", True
    if code in PASSING or status >= 500 or status == 429:
        return f"the server answers with {code}", False
    if status in {401, 403}:
        return f"the access is denied ({code}): these keys may not get, put and list what is there", True
    return f"the server refuses it with {code}", True
