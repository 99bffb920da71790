"""The product spec: product.yaml, and the policy beside it, as frozen, typed objects.

Everything that depends on the data (validation, Feast definitions, imputation, model features) is built from
`Product`. A mistake in the file is a `ProductError` that names the file, the key and the rule.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from beacon_core.domain.derived import Formula
from beacon_core.domain.feature import Derived, Feature, make_feature, read_entry
from beacon_core.domain.policy import POLICY_FILE, Policy, parse_policy
from beacon_core.domain.product_entry import Entity, ProductEntry, Segment, Target, Times, Training
from beacon_core.domain.product_rules import CREATED_TIME, EVENT_TIME, check_product
from beacon_core.domain.schema import Schema
from beacon_core.domain.source import DataRules, Source, parse_sources
from beacon_core.domain.spec import ProductError, check_misplaced_keys, convert

__all__ = (
    "CREATED_TIME",
    "EVENT_TIME",
    "Derived",
    "Entity",
    "Feature",
    "Product",
    "Segment",
    "Target",
    "parse_product",
)
MOST_KEY_FEATURES = 5


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """One product: its data, its target and its policy; `min_features` of a row must be known for a prediction."""

    file: Path
    name: str
    title: str
    schema_version: int
    sources: tuple[Source, ...]
    data: DataRules
    entity: Entity | None
    time: Times
    target: Target
    features: tuple[Feature, ...]
    derived: tuple[Derived, ...]
    excluded: dict[str, str]
    key_features: tuple[str, ...]
    segments: dict[str, Segment]
    min_features: int
    features_ttl_days: int
    training: Training
    policy: Policy

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names in the order of the matrix's columns."""
        return tuple(feature.name for feature in self.features)

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the entity's key; empty without an entity."""
        return self.entity.keys if self.entity else ()

    @property
    def feature_service(self) -> str:
        """Name of the Feast feature service that serves this schema version."""
        return f"{self.name.replace('-', '_')}_v{self.schema_version}"

    @property
    def sample_path(self) -> Path:
        """The file of the first source, or its bundled sample."""
        return self.sources[0].sample_path or self.sources[0].path

    @property
    def schema(self) -> Schema:
        """What a model that is trained now follows from."""
        return Schema(
            version=self.schema_version,
            target=self.target,
            entity=self.entity,
            features=self.features,
            derived=self.derived,
            min_features=self.min_features,
        )


def parse_product(file: Path, raw: object, read_policy: Callable[[Path], object]) -> Product:
    """Check the content of `file`, then the policy beside it; raises `ProductError` that names file, key and rule.

    `read_policy` returns None where there is no policy: then all its limits have their defaults.
    """
    check_misplaced_keys(file, raw, Policy.__struct_fields__, POLICY_FILE)
    if isinstance(raw, dict) and "features" not in raw:
        raise ProductError(file, "features", "is missing: `beacon new` proposes them from the data")
    entry = convert(file, "", raw, ProductEntry)
    sources = parse_sources(file, entry.source)
    entries = {name: read_entry(file, name, spec) for name, spec in entry.features.items()}
    check_product(file, entry, entries)
    features = tuple(make_feature(name, of) for name, of in entries.items() if not isinstance(of.derived, Formula))
    derived = tuple(
        Derived(name, of.title or name, of.unit, of.derived)
        for name, of in entries.items()
        if isinstance(of.derived, Formula)
    )
    beside = file.with_name(POLICY_FILE)
    raw_policy = read_policy(beside)
    check_misplaced_keys(beside, raw_policy, ProductEntry.__struct_fields__, file.name)
    names = tuple(feature.name for feature in features)
    directed = tuple(feature.name for feature in features if feature.is_measured)
    policy = parse_policy(beside, {} if raw_policy is None else raw_policy, names, directed)
    measured = tuple(feature.name for feature in features if not feature.parts)
    return Product(
        file=file,
        name=entry.name,
        title=entry.title or entry.name.replace("-", " ").replace("_", " "),
        schema_version=entry.schema_version,
        sources=sources,
        data=entry.data,
        entity=None if isinstance(entry.entity, str) else entry.entity,
        time=entry.time,
        target=msgspec.structs.replace(entry.target, title=entry.target.title or entry.target.name),
        features=features,
        derived=derived,
        excluded=entry.excluded,
        key_features=entry.key_features or measured[:MOST_KEY_FEATURES],
        segments=entry.segments,
        min_features=entry.min_features or -(-len(features) // 2),
        features_ttl_days=entry.features_ttl_days,
        training=entry.training,
        policy=policy,
    )
