"""What the model in service answers to a made-up row, beside what it answered to a logged one."""

from collections.abc import Mapping
from typing import NamedTuple

from beacon_console.inference_api import Failure, InferenceApi, ShownAnswer, ShownContribution, ShownExplanation
from beacon_core.domain.product import Product
from beacon_core.domain.value_rules import Value


class ComparedFeature(NamedTuple):
    """A feature in both rows: values and contributions, None where it has none there."""

    name: str
    before: Value | None
    after: Value | None
    added_before: float | None
    added_after: float | None

    @property
    def is_changed(self) -> bool:
        """Whether somebody changed the value."""
        return self.before != self.after

    @property
    def difference(self) -> float | None:
        """How much more it adds now."""
        if self.added_before is None or self.added_after is None:
            return None
        return self.added_after - self.added_before


class WhatIf(NamedTuple):
    """The answer. `why_not` says why there is no explanation; `features` are those that changed most first."""

    answer: ShownAnswer
    explained: ShownExplanation | None
    original: ShownExplanation | None
    why_not: Failure | None
    features: list[ComparedFeature]


def ask(
    inference: InferenceApi,
    product: Product,
    values: Mapping[str, Value | None],
    logged: tuple[str, Mapping[str, Value]] | None,
) -> WhatIf | Failure:
    """Ask for the prediction and for its explanation; `logged` are the id and the values of the original."""
    answer = inference.predict(dict(values))
    if isinstance(answer, Failure):
        return answer
    explained = inference.explain(dict(values))
    original = None if logged is None or isinstance(explained, Failure) else inference.explain_logged(logged[0])
    failures = [each for each in (explained, original) if isinstance(each, Failure)]
    before = {} if logged is None else logged[1]
    return WhatIf(
        answer,
        None if isinstance(explained, Failure) else explained,
        None if isinstance(original, Failure) else original,
        failures[0] if failures else None,
        _compared(product, before, values, _by_name(original), _by_name(explained)),
    )


def _by_name(explained: ShownExplanation | Failure | None) -> dict[str, ShownContribution]:
    if explained is None or isinstance(explained, Failure):
        return {}
    return {each.feature: each for each in explained.contributions}


def _compared(
    product: Product,
    before: Mapping[str, Value],
    after: Mapping[str, Value | None],
    added_before: Mapping[str, ShownContribution],
    added_after: Mapping[str, ShownContribution],
) -> list[ComparedFeature]:
    names = dict.fromkeys([*product.feature_names, *added_after, *added_before])

    def added(of: Mapping[str, ShownContribution], name: str) -> float | None:
        return of[name].contribution if name in of else None

    def value(of: Mapping[str, ShownContribution], given: Mapping[str, Value | None], name: str) -> Value | None:
        return given.get(name) if name in product.feature_names or name not in of else of[name].value

    found = [
        ComparedFeature(
            name,
            value(added_before, before, name),
            value(added_after, after, name),
            added(added_before, name),
            added(added_after, name),
        )
        for name in names
    ]
    return sorted(found, key=lambda each: -abs(each.added_after or 0.0 if each.difference is None else each.difference))
