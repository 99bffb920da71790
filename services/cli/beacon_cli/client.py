"""Requests to a running Beacon: where it is, the API key, and errors as one sentence."""

import http.client
import json
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from beacon_cli.errors import CliError
from beacon_cli.exit_statuses import BAD_DATA, REFUSED, TRY_AGAIN, USAGE

TIMEOUT_SECONDS = 30.0
STATUS_OF = {400: BAD_DATA, 413: BAD_DATA, 422: BAD_DATA} | dict.fromkeys((408, 409, 429, 502, 503, 504), TRY_AGAIN)
"""The exit status by the status of an answer; `REFUSED` for all others."""
KEY = "BEACON_API_KEY"
HOST, PORT = "127.0.0.1", "8080"
USUAL_ADDRESS = f"http://{HOST}:{PORT}"
"""Of inference on a laptop."""


def address(given: str | None) -> str:
    """The address of inference: as given, else of the settings, else the laptop's; raises `CliError`."""
    host = os.environ.get("BEACON_HOST") or HOST
    shown = f"[{host}]" if ":" in host else host
    usual = f"http://{shown}:{os.environ.get('BEACON_INFERENCE_PORT') or PORT}"
    name = "--url" if given else "BEACON_INFERENCE_URL"
    found = given or os.environ.get("BEACON_INFERENCE_URL") or usual
    try:
        parts = urlsplit(found)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_address = False
    if not is_address or parts.query or parts.fragment:
        raise CliError(f"{name} is not an address such as http://HOST:PORT", USAGE)
    return found.rstrip("/")


def call(url: str, body: object = None) -> Any:
    """The answer to GET, or to POST of a JSON body, with the API key if there is one; raises `CliError`."""
    key = os.environ.get(KEY, "").strip()
    headers = {"X-API-Key": key} if key else {}
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - the caller's address
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - the caller's address
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            status = STATUS_OF.get(error.code, REFUSED)
            raise CliError(_refusal(error.code, error.read(10_000)), status) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        text = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        raise CliError(
            f"{url} does not answer: {text}; start it by `make run`, or name another by --url", TRY_AGAIN
        ) from error
    except ValueError as error:
        raise CliError(f"{url} does not answer in JSON, so it is not Beacon; name it by --url", REFUSED) from error


def _refusal(status: int, text: bytes) -> str:
    """The error of an answer in one line; for one that is not Beacon's JSON (a proxy's) the beginning of its text."""
    try:
        found = json.loads(text)
        message, code, field = found["error"], found["code"], found["field"]
    except (ValueError, TypeError, KeyError):
        return f"status {status}: {' '.join(text.decode(errors='replace').split())[:200]}"
    advice = f"; {KEY} has the key" if status in {401, 403} else ""
    return f"{code}: {message}" + (f" ({field})" if field else "") + advice
