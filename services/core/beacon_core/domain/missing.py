"""Markers of a missing value in a table of text."""

from beacon_core.domain.product import Product

PANDAS_MARKERS = frozenset(
    {
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
"""What pandas.read_csv reads as missing by default."""


def missing_markers(product: Product) -> frozenset[str]:
    """Return pandas' markers and those of the product's own data files."""
    return PANDAS_MARKERS.union(*(source.format.missing or () for source in product.sources))
