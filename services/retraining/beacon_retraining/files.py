"""The formats of the files that a stage writes, each in one step."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from beacon_core.platform.files import draft_of, write_atomically

if TYPE_CHECKING:  # half a second of every process that only writes JSON
    import pandas as pd


def write_json(file: Path, value: object) -> None:
    """Write `value` as JSON for people and machines; equal values give equal bytes."""
    encoded = msgspec.json.encode(value, order="deterministic")
    write_atomically(file, msgspec.json.format(encoded, indent=2) + b"\n")


def write_table(file: Path, frame: "pd.DataFrame") -> None:
    """Write `frame` as Parquet; equal frames give equal bytes."""
    with draft_of(file) as draft:
        frame.to_parquet(draft, index=False)
