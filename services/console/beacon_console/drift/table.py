"""The results of a drift run as a table for a file."""

from collections.abc import Iterator, Sequence

from beacon_console.downloads.table import Cell, Column, Table, most_rows
from beacon_core.data.drift_results import DriftResult

COLUMNS = (
    Column("period", "text"),
    Column("window", "text"),
    Column("model_version", "text"),
    Column("kind", "text"),
    Column("feature", "text"),
    Column("effect", "text"),
    Column("state", "text"),
    Column("score", "number"),
    Column("p_value", "number"),
    Column("threshold", "number"),
    Column("rows", "number"),
    Column("alarm", "bool"),
    Column("confirmed", "bool"),
)


def table_of(period: str, results: Sequence[DriftResult]) -> Table:
    """The results of the run of a period."""

    def rows() -> Iterator[list[list[Cell]]]:
        shown = results[: most_rows(len(COLUMNS))]
        yield [[period, *(getattr(result, column.name) for column in COLUMNS[1:])] for result in shown]

    return Table(COLUMNS, rows())
