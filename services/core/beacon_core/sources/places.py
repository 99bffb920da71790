"""Places: each source as files on this machine. What is far is copied into a temporary folder first.

A copy is retried while the failure may pass. A file that changes while it is read is an error.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from beacon_core.domain.data_errors import FILE, DataError
from beacon_core.domain.source import Source
from beacon_core.sources.environment import expand, masked
from beacon_core.sources.errors import FetchError, FetchRefusedError

TRIES = 3
WAIT_SECONDS = 1.0
TIMEOUT_SECONDS = 60.0
BLOCK = 1 << 20
MOST_BYTES = 1 << 36
REFUSED_STATUSES = frozenset(range(400, 500)) - {408, 425, 429}


class LocalFile(NamedTuple):
    """A file on this machine, and what messages call it."""

    path: Path
    name: str


@contextmanager
def local_files(source: Source) -> Iterator[list[LocalFile]]:
    """The source's files, as long as they are read; raises `FetchError`, or `DataError` for one that changes."""
    if source.kind in {"https", "s3", "url"}:
        with tempfile.TemporaryDirectory(prefix="beacon-source-") as folder:
            yield [_copy(source, Path(folder))]
        return
    files = _files(source)
    before = [_state(file) for file in files]
    yield files
    after = [_state(file) for file in _files(source)]
    changed = [file.name for file, one in zip(files, before, strict=True) if one not in after]
    if changed or len(before) != len(after):
        raise DataError(changed[0] if changed else source.name, FILE, "changed while it was read; try again")


def folder_files(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that a source reads, in their order."""
    return sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))


def _files(source: Source) -> list[LocalFile]:
    if source.kind == "kaggle":
        if source.sample_path is None:
            raise FetchRefusedError(f"{source.name}: no Kaggle credentials are set, and the source names no sample")
        return [LocalFile(source.sample_path, source.sample_path.name)]
    if source.kind == "file":
        return [LocalFile(source.path, source.path.name)]
    folder = source.path
    if not folder.is_dir():
        raise DataError(source.name, FILE, "cannot be read: No such folder")
    found = folder_files(folder, source.pattern)
    if not found:
        raise DataError(source.name, FILE, f"holds no file that matches {source.pattern}")
    return [LocalFile(path, path.relative_to(folder).as_posix()) for path in found]


def _state(file: LocalFile) -> tuple[Any, ...]:
    try:
        found = os.stat(file.path)  # noqa: PTH116 - also of a link's target
    except OSError:
        return (file.path, None)
    return (file.path, found.st_size, found.st_mtime_ns, found.st_ino)


def _copy(source: Source, folder: Path) -> LocalFile:
    """Copy what is at the address into `folder`."""
    import fsspec  # noqa: PLC0415 - and what it imports takes a while

    address = expand(source)
    name = PurePosixPath(urlsplit(address).path).name or "table"
    file = folder / "table"
    for number in range(1, TRIES + 1):
        try:
            system, path = fsspec.core.url_to_fs(address, **_options(address))
            _download(system, path, file, source)
        except (FetchError, DataError):
            raise
        except Exception as error:
            failure = _failure(source, error)
            if isinstance(failure, FetchRefusedError) or number == TRIES:
                raise failure from error
            time.sleep(WAIT_SECONDS * 2 ** (number - 1))
        else:
            return LocalFile(file, name)
    raise AssertionError("the last try returns or raises")


def _options(address: str) -> dict[str, Any]:
    if not address.startswith(("http://", "https://")):
        return {}
    import aiohttp  # noqa: PLC0415

    # trust_env: proxies and .netrc, as other programs take them.
    timeout = aiohttp.ClientTimeout(total=None, connect=TIMEOUT_SECONDS, sock_read=TIMEOUT_SECONDS)
    return {"client_kwargs": {"trust_env": True, "timeout": timeout}, "skip_instance_cache": True}


def _download(system: Any, path: str, file: Path, source: Source) -> None:
    system.invalidate_cache()
    before = None if "http" in system.protocol else system.info(path)
    system.get_file(path, str(file))
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise FetchRefusedError(f"{source.name}: has more than {MOST_BYTES >> 30} GiB")
    if before is not None:
        system.invalidate_cache()
        after = system.info(path)
        if any(before.get(key) != after.get(key) for key in ("size", "ETag", "mtime", "LastModified")):
            raise DataError(source.name, FILE, "changed while it was read; try again")
        if before.get("size") not in {None, size}:
            raise FetchError(f"{source.name}: was cut off: {size} of {before['size']} bytes arrived")


def _failure(source: Source, error: Exception) -> FetchError:
    status = getattr(error, "status", None)
    response = getattr(getattr(error, "__cause__", None), "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", status)
    text = masked(f"{type(error).__name__}: {getattr(error, 'message', '') or error}", source)
    refused = isinstance(error, FileNotFoundError | PermissionError | ImportError | ValueError | NotImplementedError)
    if isinstance(error, FileNotFoundError):
        text = "is not there"
    elif isinstance(error, PermissionError):
        text = f"the access is denied: {masked(str(error), source)}"
    elif status is not None:
        text = f"answers with status {status}"
    is_refused = refused or status in REFUSED_STATUSES or type(error).__name__ == "NoCredentialsError"
    return (FetchRefusedError if is_refused else FetchError)(f"{source.name}: {text}")
