"""The results of a drift run as a table for a file."""

from collections.abc import Iterator, Sequence

from beacon_console.downloads.table import Cell, FileColumn, Table, most_rows
from beacon_core.data.drift_results import DriftResult

COLUMNS = (
    FileColumn("period", "text"),
    FileColumn("window", "text"),
    FileColumn("model_version", "text"),
    FileColumn("kind", "text"),
    FileColumn("feature", "text"),
    FileColumn("effect", "text"),
    FileColumn("state", "text"),
    FileColumn("score", "number"),
    FileColumn("p_value", "number"),
    FileColumn("threshold", "number"),
    FileColumn("rows", "number"),
    FileColumn("alarm", "bool"),
    FileColumn("confirmed", "bool"),
)


def table_of(period: str, results: Sequence[DriftResult]) -> Table:
    """The results of the run of a period."""

    def rows() -> Iterator[list[list[Cell]]]:
        shown = results[: most_rows(len(COLUMNS))]
        yield [[period, *(getattr(result, column.name) for column in COLUMNS[1:])] for result in shown]

    return Table(COLUMNS, rows())
