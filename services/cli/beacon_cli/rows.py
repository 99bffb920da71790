"""A row for the server from the command line or from a file of JSON."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from beacon_cli import client
from beacon_cli.errors import CliError
from beacon_cli.exit_statuses import BAD_DATA, REFUSED

FLAGS = {"True": True, "False": False, "TRUE": True, "FALSE": False}
"""Spellings of true and false that are not JSON's."""
ROW_FIELDS = {"features", "entity", "prediction_id"}
Texts = Callable[[], Collection[str]]


def row_of(features: Sequence[str], entity: Sequence[str], texts: Texts) -> dict[str, Any]:
    """The row of NAME=VALUE pairs; values of the names that `texts` gives are text. Raises `CliError`."""
    sections = {"features": _pairs(features, texts), "entity": _pairs(entity, texts)}
    return {name: section for name, section in sections.items() if section}


def text_names(url: str) -> frozenset[str]:
    """The features and keys that are text for the server's product: 17 is text there. None where it does not say."""
    try:
        schemas = client.call(f"{url}/openapi.json")["components"]["schemas"]
    except (CliError, KeyError, TypeError):
        return frozenset()  # then the answer says what it wants
    fields = {**_properties(schemas, "Features"), **_properties(schemas, "Entity")}
    return frozenset(name for name, field in fields.items() if "string" in _types(field))


def _properties(schemas: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = schemas.get(name, {}).get("properties", {})
    return found


def _types(field: dict[str, Any]) -> set[str]:
    given = field.get("type", [])
    own = {given} if isinstance(given, str) else set(given)
    return own.union(*(_types(part) for part in field.get("anyOf", ())))


def read_rows(file: str) -> object:
    """Read a JSON file, or standard input for `-`; raises `CliError`."""
    name = "standard input" if file == "-" else file
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CliError(f"{name} cannot be read: {error.strerror or error}", REFUSED) from error
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise CliError(f"{name} is not JSON: it is not text in UTF-8", BAD_DATA) from error
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise CliError(f"{name} is not JSON: {problem}", BAD_DATA) from error
    except RecursionError as error:
        raise CliError(f"{name} is not JSON: it is nested too deeply", BAD_DATA) from error
    except ValueError as error:  # Python's limit of an integer's digits
        raise CliError(f"{name} is not JSON: it has a number that is too long", BAD_DATA) from error


def request_of(rows: object) -> tuple[object, bool]:
    """The body for one row or a list of rows, and whether it is a list; the API checks their content."""
    if isinstance(rows, dict) and set(rows) == {"rows"}:
        rows = rows["rows"]
    if isinstance(rows, list):
        return {"rows": [_row(row) for row in rows]}, True
    return _row(rows), False


def _row(row: object) -> object:
    return {"features": row} if isinstance(row, dict) and not ROW_FIELDS & set(row) else row


def _pairs(given: Sequence[str], texts: Texts) -> dict[str, Any]:
    pairs = [_pair(text, texts) for text in given]
    if twice := next((name for name, count in Counter(name for name, _ in pairs).items() if count > 1), None):
        raise CliError(f"{twice} has more than one value", BAD_DATA)
    return dict(pairs)


def _pair(text: str, texts: Texts) -> tuple[str, Any]:
    """NAME and value. What is not JSON is text, and so is all but null where text is wanted, unless it is in quotes."""
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise CliError(f"{text!r} is not NAME=VALUE", BAD_DATA)
    try:
        found = json.loads(value)
    except ValueError:
        if value not in FLAGS:
            return name, value
        return name, value if name in texts() else FLAGS[value]
    return name, value if found is not None and not isinstance(found, str) and name in texts() else found
