"""Request predictions from a running inference. Exit 0 answered, 1 refused, 65 bad data, 75 try again later.

The row is NAME=VALUE pairs, an entity, or both; product.yaml says which values are text. Without them, FILE holds
JSON: one row, or a list of rows. A row is {"features": {...}, "entity": {...}}, or an object of features alone.
"""

import argparse
import http.client
import json
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from beacon_core.domain.addresses import http_address
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.exit_statuses import BAD_DATA, REFUSED, TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings

TIMEOUT_SECONDS = 30.0
FLAGS = {"True": True, "False": False, "TRUE": True, "FALSE": False}
"""Spellings of true and false that are not JSON's."""
EXIT_STATUS_OF = {400: BAD_DATA, 413: BAD_DATA, 422: BAD_DATA, 408: TRY_AGAIN, 409: TRY_AGAIN, 429: TRY_AGAIN} | {
    502: TRY_AGAIN,
    503: TRY_AGAIN,
    504: TRY_AGAIN,
}
"""By the status of the answer; all others are `REFUSED`."""
ROW_FIELDS = {"features", "entity", "prediction_id"}


class PredictError(Exception):
    """There is no prediction; the message is one line that says why."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def main(settings: Settings) -> int:
    """Send one request, and print the answer as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", nargs="*", metavar="NAME=VALUE", help="of a feature")
    parser.add_argument(
        "--entity",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="whose other features come from the feature store; once for each column of its key",
    )
    parser.add_argument("--file", help="JSON (-: standard input, which is the default)")
    parser.add_argument("--url", type=_address, help="of inference (default: the laptop's)")
    given = parser.parse_args()
    if given.features or given.entity:
        if given.file is not None:
            parser.error("a row comes from its NAME=VALUE pairs and its entity, or from --file, not from both")
        path, body = request_of(row_of(given.features, given.entity, text_names(settings.product)))
    else:
        path, body = request_of(read_rows("-" if given.file is None else given.file))
    answer = post((given.url or f"http://{settings.host}:{settings.inference_port}") + path, body, settings.api_key)
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    return 0


def row_of(features: list[str], entity: list[str], texts: Collection[str] = ()) -> dict[str, Any]:
    """The row of NAME=VALUE pairs; values of the names in `texts` are text. Raises `PredictError`."""
    sections = {"features": _pairs(features, texts), "entity": _pairs(entity, texts)}
    return {name: section for name, section in sections.items() if section}


def text_names(file: Path) -> frozenset[str]:
    """The features and keys of a product.yaml that are text: 17 is text there. None where it cannot be read.

    The server may be elsewhere, and its product another one; then its answer says what it wants.
    """
    try:
        product = load_product(file)
    except ConfigurationError:
        return frozenset()
    keys = product.entity.columns if product.entity else ()
    return frozenset(feature.name for feature in product.features if feature.is_text) | {
        name for name, kind in keys if kind == "text"
    }


def _pairs(given: list[str], texts: Collection[str]) -> dict[str, Any]:
    pairs = [_pair(text, texts) for text in given]
    if twice := next((name for name, count in Counter(name for name, _ in pairs).items() if count > 1), None):
        raise PredictError(f"{twice} has more than one value", BAD_DATA)
    return dict(pairs)


def request_of(rows: object) -> tuple[str, Any]:
    """Route and body for one row or a list of rows; the API checks their content."""
    if isinstance(rows, dict) and set(rows) == {"rows"}:
        rows = rows["rows"]
    if isinstance(rows, list):
        return "/v1/predict/batch", {"rows": [_row(row) for row in rows]}
    return "/v1/predict", _row(rows)


def read_rows(file: str) -> object:
    """Read a JSON file, or standard input for `-`; raises `PredictError`."""
    name = "standard input" if file == "-" else file
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise PredictError(f"{name} cannot be read: {error.strerror or message_of(error)}", REFUSED) from error
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PredictError(f"{name} is not JSON: it is not text in UTF-8", BAD_DATA) from error
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise PredictError(f"{name} is not JSON: {problem}", BAD_DATA) from error
    except RecursionError as error:
        raise PredictError(f"{name} is not JSON: it is nested too deeply", BAD_DATA) from error
    except ValueError as error:  # Python's limit of an integer's digits
        raise PredictError(f"{name} is not JSON: it has a number that is too long", BAD_DATA) from error


def post(url: str, body: object, key: str = "") -> Any:
    """The answer to a request for predictions, with an API key if there is one; raises `PredictError`."""
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - the caller's address
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - the caller's address
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            raise PredictError(
                _refusal(error.code, error.read(10_000)), EXIT_STATUS_OF.get(error.code, REFUSED)
            ) from error
    except (OSError, http.client.HTTPException) as error:
        raise PredictError(f"{url} does not answer: {message_of(error)}", TRY_AGAIN) from error
    except ValueError as error:
        raise PredictError(f"{url} does not answer in JSON: {message_of(error)}", REFUSED) from error


def _pair(text: str, texts: Collection[str]) -> tuple[str, Any]:
    """NAME and value. What is not JSON is text, and so is all but null where text is wanted, unless it is in quotes."""
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise PredictError(f"{text!r} is not NAME=VALUE", BAD_DATA)
    try:
        found = json.loads(value)
    except ValueError:
        return name, value if name in texts else FLAGS.get(value, value)
    return name, found if name not in texts or found is None or isinstance(found, str) else value


def _address(text: str) -> str:
    try:
        return http_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _row(row: object) -> object:
    return {"features": row} if isinstance(row, dict) and not ROW_FIELDS & set(row) else row


def _refusal(status: int, text: bytes) -> str:
    """The error of an answer in one line; for one that is not Beacon's JSON (a proxy's) the beginning of its text."""
    try:
        found = json.loads(text)
        message, code, field = found["error"], found["code"], found["field"]
    except (ValueError, TypeError, KeyError):
        return f"status {status}: {' '.join(text.decode(errors='replace').split())[:200]}"
    return f"{code}: {message}" + (f" ({field})" if field else "")


def run() -> int:
    """Request predictions from a running inference."""
    return run_command("predict", main)
