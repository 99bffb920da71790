"""The schema that a model follows from, and what a changed one means for a model in service.

A package carries the schema it was trained on. So a changed product.yaml never makes a model useless by itself:

| change | kind | what follows |
| --- | --- | --- |
| range, level, title, missing values, decimals | compatible | it holds at once; the model in service goes on |
| a new or removed feature or derived column, other parts of a date | follows | the next model has it |
| type, unit or order of a feature; target; key | breaking | a new `schema_version`; a person approves the new model |
"""

import hashlib
from typing import Any, Literal

import msgspec

from beacon_core.domain.feature import Derived, Feature
from beacon_core.domain.product_entry import Entity, Target

ChangeKind = Literal["compatible", "follows", "breaking"]


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What a model and its requests agree on; `min_features` of a row must be known for a prediction."""

    version: int
    target: Target
    entity: Entity | None
    features: tuple[Feature, ...]
    derived: tuple[Derived, ...] = ()
    min_features: int = 1

    @property
    def digest(self) -> str:
        """sha256 of the schema: a model of an equal one is trained alike."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names in the order of the matrix's columns."""
        return tuple(feature.name for feature in self.features)


class Change(msgspec.Struct, frozen=True):
    """One difference between two schemas; `key` is product.yaml's."""

    kind: ChangeKind
    key: str
    text: str


def changes(old: Schema, new: Schema) -> list[Change]:
    """What changed from `old` to `new`, in the order of product.yaml."""
    found = _entity_changes(old, new) + _target_changes(old.target, new.target)
    before = {feature.name: feature for feature in old.features}
    after = {feature.name: feature for feature in new.features}
    found += [Change("follows", f"features.{name}", "is gone") for name in before if name not in after]
    for name, feature in after.items():
        known = before.get(name)
        found += (
            [Change("follows", f"features.{name}", "is new")] if known is None else _feature_changes(known, feature)
        )
    formulas, now = ({column.name: column.formula for column in schema.derived} for schema in (old, new))
    names = [name for name in {**formulas, **now} if formulas.get(name) != now.get(name)]
    return found + [Change("follows", f"features.{name}", "is computed otherwise") for name in names]


def is_breaking(old: Schema, new: Schema) -> bool:
    """Whether a model of `old` cannot answer requests of `new`."""
    return any(change.kind == "breaking" for change in changes(old, new))


def _entity_changes(old: Schema, new: Schema) -> list[Change]:
    columns = [schema.entity.columns if schema.entity else () for schema in (old, new)]
    return [Change("breaking", "entity.key", "is another key")] if columns[0] != columns[1] else []


def _target_changes(old: Target, new: Target) -> list[Change]:
    kinds: dict[str, ChangeKind] = {"name": "breaking", "unit": "breaking", "transform": "follows", "weight": "follows"}
    return _field_changes("target", old, new, kinds)


def _feature_changes(old: Feature, new: Feature) -> list[Change]:
    kinds: dict[str, ChangeKind] = {
        "type": "breaking",
        "unit": "breaking",
        "ordered": "follows",
        "encode": "follows",
        "parts": "follows",
        "lag": "follows",
        "impute": "follows",
    }
    key = f"features.{new.name}"
    found = _field_changes(key, old, new, kinds)
    if old.levels != new.levels:
        known, now = set(old.known_levels), set(new.known_levels)
        # A text level's number is its position: the package has its own list, so their order may change.
        other_form = old.has_number_levels != new.has_number_levels
        kind: ChangeKind = "breaking" if other_form else "compatible" if known <= now else "follows"
        found.append(Change(kind, f"{key}.levels", "are others"))
    if old.valid != new.valid:
        narrower = new.bounds[0] > old.bounds[0] or new.bounds[1] < old.bounds[1]
        found.append(Change("follows" if narrower else "compatible", f"{key}.valid", "is another range"))
    return found


def _field_changes(key: str, old: Any, new: Any, kinds: dict[str, ChangeKind]) -> list[Change]:
    handled = {"name", "levels", "valid"} if isinstance(old, Feature) else set()
    return [
        Change(kinds.get(name, "compatible"), f"{key}.{name}", f"was {before}, is {after}")
        for name in old.__struct_fields__
        if name not in handled and (before := getattr(old, name)) != (after := getattr(new, name))
    ]
