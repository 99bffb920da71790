"""Predictions as a table for a file: the log's columns, then the product's features under their names."""

from collections.abc import Iterator, Sequence

from beacon_console.downloads.table import Cell, Kind, Table, TableColumn, most_rows
from beacon_core.data.database import Connection
from beacon_core.data.prediction_log import log_pages
from beacon_core.data.prediction_log.log_pages import LogFilter, LogLine, LogPosition
from beacon_core.domain.feature import Feature
from beacon_core.domain.product import Product

OF_LOG = (
    TableColumn("id", "text"),
    TableColumn("time", "time"),
    TableColumn("entity", "text"),
    TableColumn("client", "text"),
    TableColumn("model_version", "text"),
    TableColumn("prediction", "number"),
    TableColumn("low", "number"),
    TableColumn("high", "number"),
    TableColumn("actual", "number"),
    TableColumn("observed_at", "time"),
    TableColumn("error", "number"),
    TableColumn("imputed", "text"),
    TableColumn("out_of_range", "text"),
)
OF_FEATURES = "features."
"""Before the name of a feature, which may be called like a column of the log."""
AT_ONCE = 2000
"""Lines that one query reads."""
MOST_SEARCHES = 25


def most_lines(product: Product) -> int:
    """So many lines a file has at most."""
    return most_rows(len(OF_LOG) + len(product.features))


def read_lines(
    connection: Connection, wanted: LogFilter, after: LogPosition | None, most: int
) -> tuple[list[LogLine], LogPosition | None]:
    """The first lines that a filter lets pass, and where the others begin; None where these are all."""
    lines: list[LogLine] = []
    for _ in range(MOST_SEARCHES):
        page = log_pages.page_of(connection, wanted, after, min(AT_ONCE, most - len(lines)))
        lines += page.lines
        after = page.following
        if after is None or len(lines) >= most:
            break
    return lines, after


def table_of(product: Product, lines: Sequence[LogLine]) -> Table:
    """The lines as a table."""
    columns = [*OF_LOG, *(TableColumn(OF_FEATURES + feature.name, _kind(feature)) for feature in product.features)]
    return Table(columns, _batches(product, lines))


def _batches(product: Product, lines: Sequence[LogLine]) -> Iterator[list[list[Cell]]]:
    for first in range(0, len(lines), AT_ONCE):
        yield [_row(product, line) for line in lines[first : first + AT_ONCE]]


def _row(product: Product, line: LogLine) -> list[Cell]:
    return [
        line.id,
        line.time,
        line.entity,
        line.client,
        line.model_version,
        line.prediction,
        line.low,
        line.high,
        line.actual,
        line.observed_at,
        line.error,
        ", ".join(line.imputed),
        ", ".join(line.out_of_range),
        *(line.features.get(name) for name in product.feature_names),
    ]


def _kind(feature: Feature) -> Kind:
    return "bool" if feature.type == "bool" else "text" if feature.is_text else "number"
