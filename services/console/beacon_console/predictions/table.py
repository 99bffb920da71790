"""Predictions as a table for a file: the log's columns, then the product's features under their names."""

from collections.abc import Iterable, Iterator, Sequence

from beacon_console.downloads.table import Cell, FileColumn, Kind, Table, most_rows
from beacon_core.data.database import Connection
from beacon_core.data.prediction_log import log_pages
from beacon_core.data.prediction_log.log_pages import LogFilter, LogLine, LogPosition
from beacon_core.domain.feature import Feature
from beacon_core.domain.product import Product

OF_LOG = (
    FileColumn("id", "text"),
    FileColumn("time", "time"),
    FileColumn("entity", "text"),
    FileColumn("client", "text"),
    FileColumn("model_version", "text"),
    FileColumn("prediction", "number"),
    FileColumn("low", "number"),
    FileColumn("high", "number"),
    FileColumn("actual", "number"),
    FileColumn("observed_at", "time"),
    FileColumn("error", "number"),
    FileColumn("imputed", "text"),
    FileColumn("out_of_range", "text"),
)
OF_FEATURES = "features."
"""Before the name of a feature, which may be called like a column of the log."""
AT_ONCE = 2000
"""Lines that one query reads."""
MOST_SEARCHES = 100
"""Of one file: so many times as many rows are looked at as by a page."""


def most_lines(product: Product) -> int:
    """So many lines a file has at most."""
    return most_rows(len(OF_LOG) + len(product.features))


class LogReader:
    """Reads the first lines that a filter lets pass, a page at a time: only one page is in memory.

    Afterwards `count` is how many there were, and `is_cut` whether there may be more.
    """

    def __init__(self, connection: Connection, wanted: LogFilter, after: LogPosition | None, most: int) -> None:
        self._connection, self._wanted, self._after, self._most = connection, wanted, after, most
        self.count = 0
        self.is_cut = False

    def pages(self) -> Iterator[list[LogLine]]:
        """The lines, page by page."""
        for _ in range(MOST_SEARCHES):
            size = min(AT_ONCE, self._most - self.count)
            page = log_pages.page_of(self._connection, self._wanted, self._after, size)
            self.count += len(page.lines)
            self._after = page.following
            self.is_cut = page.following is not None
            if page.lines:
                yield page.lines
            if not self.is_cut or self.count >= self._most:
                return


def table_of(product: Product, pages: Iterable[Sequence[LogLine]]) -> Table:
    """The lines as a table."""
    columns = [*OF_LOG, *(FileColumn(OF_FEATURES + feature.name, _kind(feature)) for feature in product.features)]
    return Table(columns, ([_row(product, line) for line in lines] for lines in pages))


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
