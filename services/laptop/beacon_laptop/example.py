"""Example requests for the terminal: a row of the product's table, by its features and by its entity."""

import json
import shlex
from pathlib import Path
from typing import Any

from beacon_cli.client import USUAL_ADDRESS
from beacon_cli.rows import FLAGS
from beacon_core.domain.data_errors import DataError
from beacon_core.domain.product import Product
from beacon_core.sources.errors import FetchError
from beacon_core.sources.rows import read_rows

Row = dict[str, Any]
Body = dict[str, object]
ROWS = 1000
"""So many rows are looked at for one without a gap."""


def example_requests(product: Product, home: Path | None = None) -> list[Body]:
    """Requests for a prediction: by entity, where the product has one and its table can be read, and by features."""
    row = _fullest_row(product, home)
    known = {name: row[name] for name in product.feature_names if row.get(name) is not None}
    by_features: Body = {"features": known}
    if not product.keys or any(row.get(key) is None for key in product.keys):
        return [by_features]
    return [{"entity": {key: row[key] for key in product.keys}}, by_features]


def curl_command(url: str, body: Body, *, has_key: bool = False) -> str:
    """A shell command that sends `body` to the prediction route `url`, with the API key of the shell if one is set."""
    command = shlex.join(["curl", "-s", url, "-H", "content-type: application/json", "-d", json.dumps(body)])
    return f'{command} -H "X-API-Key: $BEACON_API_KEY"' if has_key else command


def beacon_command(program: str, url: str, body: Body) -> str:
    """The same by `beacon predict` as `program`, for a machine without curl; it takes the API key of the shell."""
    words = [program, "predict"]
    for section, option in (("entity", ["--entity"]), ("features", [])):
        pairs = body.get(section, {})
        assert isinstance(pairs, dict)  # noqa: S101 - both are objects in every body
        for name, value in pairs.items():
            words += [*option, f"{name}={_shown(value)}"]
    return shlex.join([*words, *([] if url == USUAL_ADDRESS else ["--url", url])])


def _shown(value: object) -> str:
    """A value as `beacon predict` reads it: JSON, or text as it is where it could not be taken for JSON."""
    if isinstance(value, str) and value not in FLAGS:
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, ensure_ascii=False)


def _fullest_row(product: Product, home: Path | None) -> Row:
    """The first complete row, else the one with the fewest missing values.

    Where the table cannot be read, the examples of product.yaml are used: a training on it reports the error.
    """
    try:
        rows = read_rows(product, rows=ROWS, home=home)
    except (DataError, FetchError, OSError):
        rows = []
    if not rows:
        return {feature.name: feature.example for feature in product.features}
    return max(rows, key=lambda row: sum(row.get(name) is not None for name in product.feature_names))
