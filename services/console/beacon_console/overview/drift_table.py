"""The front page's table of drift: a row per feature, and one each for the predictions and the actuals."""

from collections.abc import Sequence
from typing import NamedTuple

from beacon_console.formats import in_unit
from beacon_console.overview.facts import Overview
from beacon_core.data.drift_results import DriftResult, ScoreTrend
from beacon_core.domain.product import Product

MAIN_EFFECT = "hellinger"


class DriftRow(NamedTuple):
    """One row of the table: a feature (or the predictions, or the actuals) with all its effects."""

    kind: str
    name: str
    title: str
    key: bool
    main: DriftResult | None
    """The shift of the distribution; None when this run did not compare it."""
    others: list[DriftResult]
    """Further effects that give an alarm."""
    trend: list[float | None]
    """The main score over the runs."""

    @property
    def confirmed(self) -> bool:
        """Whether any of its alarms is confirmed."""
        return any(result.confirmed for result in (self.main, *self.others) if result is not None)

    @property
    def shown(self) -> bool:
        """Whether the front page shows it unfolded."""
        return self.key or self.alarm or self.confirmed

    @property
    def alarm(self) -> bool:
        """Whether any of its effects is above its threshold now."""
        return any(result.alarm for result in (self.main, *self.others) if result is not None)


def drift_rows(
    overview: Overview, product: Product, window: str, periods: Sequence[str], trend: ScoreTrend
) -> list[DriftRow]:
    """Make the table: key features first, in the product's order of importance, then the others."""
    titles = {feature.name: feature.title for feature in product.features}
    others = [name for name in product.feature_names if name not in product.key_features]
    subjects = [("data", name, titles[name], name in product.key_features) for name in (*product.key_features, *others)]
    subjects += [("prediction", "Predictions", in_unit("what the model answers", product.target.unit), True)]
    subjects += [("target", "Actuals", in_unit(product.target.title, product.target.unit), True)]
    results = [result for result in overview.compared if result.window == window]
    rows = []
    for kind, name, title, key in subjects:
        own = [result for result in results if result.kind == kind and (kind != "data" or result.feature == name)]
        main = next((result for result in own if result.effect == MAIN_EFFECT), None)
        scores = {} if main is None else trend.get((kind, main.feature, MAIN_EFFECT), {})
        alarms = [result for result in own if result is not main and result.alarm]
        rows.append(DriftRow(kind, name, title, key, main, alarms, [scores.get(period) for period in periods]))
    return rows
