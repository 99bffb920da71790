"""`beacon explain`: ask a running server what each feature adds to a prediction."""

from collections.abc import Sequence
from typing import Any

from beacon_cli import client
from beacon_cli.errors import CliError
from beacon_cli.exit_statuses import USAGE
from beacon_cli.predict import ask

EXPLANATION = "the answer of `POST /v1/explain`"
"""What --json prints."""
ROUTE = "/v1/explain"


def explain(
    url: str, prediction_id: str | None, features: Sequence[str], entity: Sequence[str], file: str | None
) -> Any:
    """Ask for explanations: of a logged prediction, of a row, or of the rows of a file; raises `CliError`."""
    if prediction_id is None:
        return ask(url, features, entity, file, (ROUTE, ROUTE))
    if features or entity or file is not None:
        raise CliError("--id names a logged prediction, so there is no row to give", USAGE)
    return client.call(url + ROUTE, {"prediction_id": prediction_id})


def lines(answer: Any) -> list[str]:
    """The answer for a person: the largest contributions first."""
    found: list[str] = []
    for one in answer["explanations"]:
        unit = f" {one['unit']}" if one.get("unit") else ""
        found.append(
            f"{one['prediction']:g}{unit}, where {one['base']:g} is the answer for a row that nothing is known of"
        )
        parts = sorted(one["contributions"], key=lambda part: -abs(part["contribution"]))
        width = max((len(part["feature"]) for part in parts), default=0)
        found += [
            f"  {part['contribution']:+12.5g}  {part['feature']:<{width}}  {_value(part['value'])} ({part['source']})"
            for part in parts
        ]
    return found


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "-" if value is None else str(value)
