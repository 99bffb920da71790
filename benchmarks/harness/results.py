"""results.json: everything measured, in one file that the report is made from."""

from pathlib import Path

import msgspec

from harness.access import AccessCost
from harness.closedloop import Loaded
from harness.features import Lookup
from harness.limits import Limit
from harness.measure import Measured


class Results(msgspec.Struct, frozen=True):
    """One run. `models` has each model's title by its name; `limits` say whether the promises held.

    `families` has single rows at 8 connections, by family and server.
    """

    facts: dict[str, str]
    models: dict[str, str]
    servers: dict[str, Measured]
    features: Lookup | None
    families: dict[str, dict[str, Loaded]]
    access: tuple[AccessCost, ...]
    limits: tuple[Limit, ...]


def write_results(file: Path, results: Results) -> None:
    """Write the run as JSON for people and programs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(_rounded(msgspec.to_builtins(results))), indent=2) + b"\n")


def read_results(file: Path) -> Results:
    """Read a run back."""
    return msgspec.json.decode(file.read_bytes(), type=Results)


def _rounded(value: object) -> object:
    """Figures to four places: more is noise."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
