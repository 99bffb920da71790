"""The prediction log: rows in, in statements of many. `prediction_log` reads them and deletes them."""

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import JSON, Connection

from beacon_core.data.tables import predictions


class PredictionRow(NamedTuple):
    """A row as both databases take it: times as text in UTC, lists and objects as JSON.

    The fields from `time` on are the same in all rows of a request.
    """

    id: str
    entity: str | None
    features: str
    from_store: str | None
    imputed: str
    out_of_range: str
    prediction: float
    low: float
    high: float
    shadow_prediction: float | None
    input_digest: str | None
    time: str
    model_version: str
    model_sha256: str
    shadow_version: str | None
    latency_seconds: float
    request_id: str
    trace_id: str | None
    client: str | None


SHARED = PredictionRow._fields[PredictionRow._fields.index("time") :]
"""The fields that are the same in all rows of a request."""
JSON_COLUMNS = [column.name for column in predictions.columns if isinstance(column.type, JSON)]
COLUMNS = ", ".join(PredictionRow._fields)
KEEP = "ON CONFLICT (id) DO NOTHING"
FROM_JSON = (
    f"INSERT INTO predictions ({COLUMNS}) "  # noqa: S608 - our names
    f"SELECT {COLUMNS} FROM json_populate_recordset(NULL::predictions, %s) {KEEP}"
)


def insert(connection: Connection, rows: Sequence[tuple[Any, ...]], shared: tuple[Any, ...] = ()) -> None:
    """Insert rows in one statement; what is there already stays as it is.

    The rows are PredictionRows, or only their own part where `shared` has the values of the fields that they share.
    Textual SQL: SQLAlchemy's conversion of Python values costs three times the insert itself.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_values(len(rows), bool(shared)), (*shared, *chain.from_iterable(rows)))
        return
    # psycopg takes 38 us per row for so many parameters; one parameter of JSON takes 5.
    encoded = msgspec.json.encode([_as_object(PredictionRow(*row, *shared)) for row in rows]).decode()
    connection.exec_driver_sql(FROM_JSON, (encoded,))


@cache
def _values(rows: int, are_parts: bool) -> str:
    """The statement for so many rows; what they share is bound once, as a third of an insert's time is binding."""
    names, shared = PredictionRow._fields, SHARED if are_parts else ()
    own = len(names) - len(shared)
    given = [f"?{number}" for number in range(1, len(shared) + 1)]
    texts = [
        f"({', '.join([*(f'?{len(shared) + row * own + number}' for number in range(1, own + 1)), *given])})"
        for row in range(rows)
    ]
    return f"INSERT INTO predictions ({COLUMNS}) VALUES {', '.join(texts)} {KEEP}"  # noqa: S608 - our names


def _as_object(row: PredictionRow) -> dict[str, Any]:
    named = row._asdict()
    for name in JSON_COLUMNS:
        if named[name] is not None:
            named[name] = msgspec.Raw(named[name].encode())
    return named
