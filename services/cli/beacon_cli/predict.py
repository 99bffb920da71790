"""`beacon predict`: ask a running server for predictions."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from beacon_cli import client
from beacon_cli.errors import CliError
from beacon_cli.exit_statuses import USAGE
from beacon_cli.rows import read_rows, request_of, row_of, text_names

PREDICTION = "the answer of `POST /v1/predict`, or for a list of rows that of `POST /v1/predict/batch`"
"""What --json prints."""


def ask(url: str, features: Sequence[str], entity: Sequence[str], file: str | None, routes: tuple[str, str]) -> Any:
    """The answer for a row of pairs, or for the rows of a file; raises `CliError`."""
    if features or entity:
        if file is not None:
            raise CliError("a row comes from its NAME=VALUE pairs and its entity, or from --file, not from both", USAGE)
        rows: object = row_of(features, entity, cache(partial(text_names, url)))
    else:
        rows = read_rows("-" if file is None else file)
    body, is_list = request_of(rows)
    return client.call(url + routes[is_list], body)


def predict(url: str, features: Sequence[str], entity: Sequence[str], file: str | None) -> Any:
    """Ask for predictions."""
    return ask(url, features, entity, file, ("/v1/predict", "/v1/predict/batch"))


def lines(answer: Any) -> list[str]:
    """The answer for a person: a line per prediction, and below it what was not as asked."""
    found: list[str] = []
    for one in answer.get("predictions", [answer]):
        unit = f" {one['unit']}" if one.get("unit") else ""
        interval = one.get("interval")
        between = f"  ({interval['low']:g} to {interval['high']:g}, {interval['coverage']:.0%})" if interval else ""
        version = one["model"]["version"]
        found.append(f"{one['prediction']:g}{unit}{between}  version {version}, {one['prediction_id']}")
        for name, what in (("imputed", "without a value"), ("out_of_range", "outside its range")):
            if one.get(name):
                found.append(f"  {what}: {', '.join(one[name])}")
    return found
