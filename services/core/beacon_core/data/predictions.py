"""The prediction log: rows in, in statements of many. `prediction_log` reads them and deletes them."""

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import JSON, Connection

from beacon_core.data.tables import predictions


class PredictionRow(NamedTuple):
    """A row as both databases take it: times as text in UTC, lists and objects as JSON."""

    id: str
    time: str
    entity: str | None
    features: str
    from_store: str | None
    imputed: str
    out_of_range: str
    prediction: float
    low: float
    high: float
    model_version: str
    model_sha256: str
    shadow_version: str | None
    shadow_prediction: float | None
    latency_seconds: float
    request_id: str
    trace_id: str | None
    input_digest: str | None
    client: str | None


JSON_COLUMNS = [column.name for column in predictions.columns if isinstance(column.type, JSON)]
COLUMNS = ", ".join(PredictionRow._fields)
KEEP = "ON CONFLICT (id) DO NOTHING"
FROM_JSON = (
    f"INSERT INTO predictions ({COLUMNS}) "  # noqa: S608 - our names
    f"SELECT {COLUMNS} FROM json_populate_recordset(NULL::predictions, %s) {KEEP}"
)


def insert(connection: Connection, rows: Sequence[PredictionRow]) -> None:
    """Insert rows in one statement; what is there already stays as it is.

    Textual SQL: SQLAlchemy's conversion of Python values costs three times the insert itself.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_values(len(rows)), tuple(chain.from_iterable(rows)))
        return
    # psycopg takes 38 us per row for so many parameters; one parameter of JSON takes 5.
    encoded = msgspec.json.encode([_as_object(row) for row in rows]).decode()
    connection.exec_driver_sql(FROM_JSON, (encoded,))


@cache
def _values(rows: int) -> str:
    row = f"({', '.join('?' * len(PredictionRow._fields))})"
    return f"INSERT INTO predictions ({COLUMNS}) VALUES {', '.join([row] * rows)} {KEEP}"  # noqa: S608 - our names


def _as_object(row: PredictionRow) -> dict[str, Any]:
    named = row._asdict()
    for name in JSON_COLUMNS:
        if named[name] is not None:
            named[name] = msgspec.Raw(named[name].encode())
    return named
