"""The results of a drift run as a table for a file."""

from collections.abc import Iterator, Sequence

from beacon_console.downloads.table import Cell, Table, TableColumn, most_rows
from beacon_core.data.drift_results import DriftResult

COLUMNS = (
    TableColumn("period", "text"),
    TableColumn("window", "text"),
    TableColumn("model_version", "text"),
    TableColumn("kind", "text"),
    TableColumn("feature", "text"),
    TableColumn("effect", "text"),
    TableColumn("state", "text"),
    TableColumn("score", "number"),
    TableColumn("p_value", "number"),
    TableColumn("threshold", "number"),
    TableColumn("rows", "number"),
    TableColumn("alarm", "bool"),
    TableColumn("confirmed", "bool"),
)


def table_of(period: str, results: Sequence[DriftResult]) -> Table:
    """The results of the run of a period."""

    def rows() -> Iterator[list[list[Cell]]]:
        shown = results[: most_rows(len(COLUMNS))]
        yield [[period, *(getattr(result, column.name) for column in COLUMNS[1:])] for result in shown]

    return Table(COLUMNS, rows())
