"""Two models on the same rows: those that one answered in service and the other in shadow."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from beacon_core.data.database import Connection
from beacon_core.data.prediction_log import log_pages
from beacon_core.data.prediction_log.log_pages import ShadowPair
from beacon_core.domain.product import Product
from beacon_core.domain.product_rules import PREDICTION
from beacon_core.domain.segments import segments_of

MOST_PAIRS = 1000
MOST_DIFFERENT = 20


class Pair(NamedTuple):
    """A row with the answers of both models, and the segments that it is in."""

    row: ShadowPair
    first: float
    second: float
    segments: list[str]

    @property
    def difference(self) -> float:
        """The second answer minus the first."""
        return self.second - self.first


class PairFigures(NamedTuple):
    """Figures over pairs; errors are absolute, over the `labelled` rows that have an actual."""

    name: str
    rows: int
    mean_difference: float
    mean_distance: float
    labelled: int
    first_error: float | None
    second_error: float | None
    second_nearer: float | None


class PairStory(NamedTuple):
    """What the pairs show: all together, by segment, and those that differ most."""

    whole: PairFigures
    segments: list[PairFigures]
    most_different: list[Pair]


def read_pairs(connection: Connection, product: Product, first: str, second: str) -> list[Pair]:
    """The newest pairs, whichever of the two was in service."""
    names = sorted({segment.of for segment in product.segments.values()} - {PREDICTION})
    found = []
    for serving, shadow in ((first, second), (second, first)):
        for row in log_pages.shadow_pairs(connection, serving, shadow, names, MOST_PAIRS):
            answers = (row.prediction, row.shadow_prediction)
            one, other = answers if serving == first else answers[::-1]
            found.append(Pair(row, one, other, segments_of(product, row.features, row.prediction)))
    return sorted(found, key=lambda pair: pair.row.time, reverse=True)[:MOST_PAIRS]


def story_of(pairs: Sequence[Pair]) -> PairStory:
    """Sum them up; there must be some."""
    by_segment: dict[str, list[Pair]] = {}
    for pair in pairs:
        for name in pair.segments:
            by_segment.setdefault(name, []).append(pair)
    return PairStory(
        _figures("", pairs),
        [_figures(name, of) for name, of in sorted(by_segment.items())],
        sorted(pairs, key=lambda pair: -abs(pair.difference))[:MOST_DIFFERENT],
    )


def _figures(name: str, pairs: Sequence[Pair]) -> PairFigures:
    errors = [
        (abs(pair.row.actual - pair.first), abs(pair.row.actual - pair.second))
        for pair in pairs
        if pair.row.actual is not None
    ]
    return PairFigures(
        name,
        len(pairs),
        _mean(pair.difference for pair in pairs) or 0.0,
        _mean(abs(pair.difference) for pair in pairs) or 0.0,
        len(errors),
        _mean(first for first, _ in errors),
        _mean(second for _, second in errors),
        _mean(float(second < first) for first, second in errors),
    )


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
