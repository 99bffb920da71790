"""Lakes for tests, and rows that go into them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, delete, select

from beacon_core.data.prediction_log import LogSlice, lake
from beacon_core.data.prediction_log.lake import Lake, LakePlace
from beacon_core.data.prediction_log.reading import LakeSource, attach
from beacon_core.data.predictions import PredictionRow
from beacon_core.data.tables import predictions

JSON = ("features", "from_store", "imputed", "out_of_range")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@contextmanager
def opened(files: str, catalog: str) -> Iterator[Lake]:
    """A lake that is closed afterwards."""
    found = lake.open_lake(LakePlace(files, catalog))
    try:
        yield found
    finally:
        found.close()


@contextmanager
def move_to_lake(engine: Engine, rows: Sequence[PredictionRow], place: LakePlace) -> Iterator[LakeSource]:
    """Let the log of a store be these rows in a lake, and the table of predictions be empty."""
    with opened(*place) as found:
        lake.append_rows(found, rows)
    with engine.begin() as connection:
        connection.execute(delete(predictions))
    source = LakeSource(*place)
    attach(engine, source)
    try:
        yield source
    finally:
        source.close()


def in_folder(folder: Path) -> LakePlace:
    """A lake in a folder, its catalog in SQLite."""
    return LakePlace(str(folder / "lake"), f"sqlite:///{folder / 'catalog.db'}")


def rows_in(engine: Engine) -> list[PredictionRow]:
    """The rows of a store's log, as inference's shipper writes them."""
    names = PredictionRow._fields
    with engine.connect() as connection:
        found = [
            dict(zip(names, row, strict=True))
            for row in connection.execute(select(*(predictions.c[name] for name in names)))
        ]
    return [PredictionRow(**_as_shipped(row)) for row in found]


def _as_shipped(row: dict[str, Any]) -> dict[str, Any]:
    """Times and JSON in words, as the shipper has them."""
    words = {name: None if row[name] is None else msgspec.json.encode(row[name]).decode() for name in JSON}
    return row | words | {"time": row["time"].replace(tzinfo=None).isoformat(" ", "microseconds")}


def row(name: str, minutes: float = 0, entity: str | None = None, **others: Any) -> PredictionRow:
    """A row of a made-up product."""
    made = PredictionRow(
        id=name, time=(NOON + timedelta(minutes=minutes)).replace(tzinfo=None).isoformat(" ", "microseconds"),
        entity=entity, features='{"doors": 4, "colour": "r\\u00fc\\nd", "new": true}', from_store=None,
        imputed='["age"]', out_of_range="[]", prediction=1.5, low=0.5, high=2.5, model_version="1",
        model_sha256="a" * 64, shadow_version=None, shadow_prediction=None, latency_seconds=0.01, request_id="q",
        trace_id=None, input_digest=None, client=None,
    )  # fmt: skip
    return made._replace(**others)


def own_id(moment: datetime, number: int) -> str:
    """An id as `beacon_core.domain.ids` makes one, of a moment."""
    return f"{round(moment.timestamp() * 1000):012x}{number:020x}"


def own_rows(
    count: int, begin: datetime = NOON, step: timedelta = timedelta(seconds=1), **others: Any
) -> list[PredictionRow]:
    """Rows with Beacon's own ids, one after another in time."""
    minutes = [(begin + step * at - NOON) / timedelta(minutes=1) for at in range(count)]
    return [row(own_id(begin + step * at, at), minutes[at], **others) for at in range(count)]


def ids_in(found: Lake) -> list[str]:
    """The ids in a lake, in its order."""
    with lake.begin(found) as handle:
        return [name for batch in lake.scan(handle, LogSlice(), ["id"]) for (name,) in batch]


def every_byte(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder, with what is in it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()
