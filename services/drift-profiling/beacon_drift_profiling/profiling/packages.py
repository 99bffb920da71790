"""The references in force: each model version's package, verified, with its profile as the columns of a comparison."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from beacon_core.data.evidence import EVERYTHING
from beacon_core.domain.pins import NAME
from beacon_core.domain.precision import float32_radius, float32_range, rounded, to_float32
from beacon_core.domain.product import Feature, Product
from beacon_core.domain.schema import Schema
from beacon_core.domain.text import text_code
from beacon_core.domain.value_rules import Level
from beacon_core.model_package.manifest import PROFILE_FILE, Manifest, PackageError
from beacon_core.model_package.signature import DIGEST_ALONE, Trust, read_trusted
from beacon_drift_profiling.comparison.reference import (
    PARTS,
    PREDICTION,
    Bins,
    Kind,
    ReferenceColumn,
    level_column,
    numeric_edges,
)
from beacon_drift_profiling.profiling.aggregates import NormalRange
from beacon_drift_profiling.profiling.profile import MOST_CHARACTERS, Profile, ProfileError, Summary


class Reference(msgspec.Struct, frozen=True):
    """What a model version is compared with; `bins_digest` tells profiles made with other bins from its own.

    It tells those of other clients' rows, too.
    """

    version: str
    manifest: Manifest
    columns: tuple[ReferenceColumn, ...]
    bins_digest: str

    @property
    def bins(self) -> dict[str, Bins]:
        """The bins of every column that has some."""
        return {column.name: column.bins for column in self.columns if column.counts}

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features that the version was trained on: its rows of the log are read by their rules."""
        return self.manifest.schema.features

    @property
    def importances(self) -> dict[str, float]:
        """Each feature's share of all importance, the most important first."""
        total = sum(max(facts.importance, 0.0) for facts in self.manifest.features) or 1.0
        shares = {facts.name: max(facts.importance, 0.0) / total for facts in self.manifest.features}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def normal_range(self) -> NormalRange | None:
        """The most important measured feature, and training's quantiles 1 % and 99 % of it; None without one."""
        columns = {feature.name: place for place, feature in enumerate(self.features) if feature.is_measured}
        first = next((name for name in self.importances if name in columns), None)
        if first is None:
            return None
        facts = next(facts for facts in self.manifest.features if facts.name == first)
        return NormalRange(columns[first], *float32_range(facts.quantiles[0], facts.quantiles[-1]))


class NoReference(msgspec.Struct, frozen=True):
    """Why a model version cannot be compared."""

    version: str
    reason: str


def load_reference(
    models: Path, product: Product, version: str, sha256: str, trust: Trust = DIGEST_ALONE
) -> Reference | NoReference:
    """Read the package of a version, pinned by the digest that its predictions were logged with."""
    if not NAME.fullmatch(version):
        return NoReference(version, "its name is not a valid version name")
    folder = models / product.name / version
    try:
        manifest = read_trusted(folder, sha256, trust).manifest
        if PROFILE_FILE not in manifest.files:
            return NoReference(version, f"its package holds no {PROFILE_FILE}")
        summaries = Profile.read((folder / PROFILE_FILE).read_bytes()).columns()
        levels = {facts.name: facts.levels or () for facts in manifest.features}
        every = columns_of(summaries, manifest.schema, levels, manifest.decimals)
        # A feature that the product no longer has is missing in all requests, which is no drift.
        gone = {feature.name for feature in manifest.schema.features} - set(product.feature_names)
        columns = tuple(column for column in every if column.name not in gone)
    except (PackageError, ProfileError, OSError) as error:
        return NoReference(version, str(error))
    places = [[column.name, *msgspec.structs.astuple(column.bins)] for column in columns]
    if product.policy.evidence != EVERYTHING:
        # Profiles of other rows are no more use than those with other bins: the log is profiled anew.
        places.append(["evidence", product.policy.evidence.clients])
    bins_digest = hashlib.sha256(json.dumps(places).encode()).hexdigest()[:16]
    return Reference(version, manifest, columns, bins_digest)


def columns_of(
    summaries: Mapping[str, Summary], schema: Schema, levels: Mapping[str, Sequence[Level]], decimals: int
) -> tuple[ReferenceColumn, ...]:
    """Return the columns of a reference profile that a comparison can use.

    `levels` are those that a package lists, by feature; `decimals` are those of the answers.
    """
    columns = [
        _feature_column(feature, summaries.get(feature.name), levels.get(feature.name, ()))
        for feature in schema.features
    ]
    target = schema.target.name
    columns.append(_numeric_column(PREDICTION, "prediction", summaries.get(PREDICTION), decimals))
    columns.append(_numeric_column(target, "target", summaries.get(target)))
    return tuple(column for column in columns if column is not None)


def _feature_column(feature: Feature, summary: Summary | None, levels: Sequence[Level]) -> ReferenceColumn | None:
    if summary is None or summary.known == 0:
        return None
    if feature.is_time:
        return ReferenceColumn(feature.name, "data", Bins(), (), summary.rows, summary.rows - summary.known)
    if feature.is_category:
        numbers, counts = _levels_of(feature, summary, levels)
        nulls = summary.rows - summary.known
        return level_column(feature.name, numbers, counts, summary.rows, nulls, is_text=feature.is_text)
    return _numeric_column(feature.name, "data", summary)


def _levels_of(
    feature: Feature, summary: Summary, levels: Sequence[Level]
) -> tuple[dict[str, float], dict[str, float]]:
    """The number of each level by its text, and how often training saw it."""
    found = summary.levels()
    if feature.type == "bool":
        numbers = {"false": 0.0, "true": 1.0}
        counts = {text: found[text.title()] for text in numbers if text.title() in found}
    elif feature.has_number_levels:
        numbers = {f"{level:.15g}": float(level) for level in feature.known_levels}
        counts = {text: found[f"{number:f}"] for text, number in numbers.items() if f"{number:f}" in found}
    else:
        listed = [str(level) for level in (*levels, *feature.known_levels)]
        spelt = {text[:MOST_CHARACTERS]: text for text in listed}
        counts = {spelt.get(text, text): count for text, count in found.items()}
        return {text: text_code(text) for text in (*listed, *counts)}, counts
    if summary.measured and sum(counts.values()) < summary.known:
        # A profile of numbers alone has a sketch of their order.
        counts = dict(zip(numbers, _counts_between(summary, list(numbers.values())), strict=True))
    return numbers, counts


def _counts_between(summary: Summary, numbers: list[float]) -> list[float]:
    """How many values lie nearest to each of the numbers, of which an order need not be given."""
    rising = sorted(numbers)
    middles = [(low + high) / 2 for low, high in pairwise(rising)]
    below = summary.below(np.asarray([rising[0] - 0.5, *middles, rising[-1] + 0.5]))
    counts = dict(zip(rising, np.diff(below).tolist(), strict=True))
    return [float(round(counts[number])) for number in numbers]


def _numeric_column(
    name: str, kind: Kind, summary: Summary | None, decimals: int | None = None
) -> ReferenceColumn | None:
    """A measurement's bins and counts; None where training saw no value of it."""
    if summary is None or summary.measured == 0:
        return None
    quantiles = summary.quantiles([0.0, *(np.arange(1, PARTS) / PARTS), 1.0])
    # As later values are seen: answers rounded, and all values as a model sees them.
    low, *inner, high = map(to_float32, quantiles if decimals is None else rounded(quantiles, decimals))
    edges = numeric_edges(np.asarray(inner), low, high)
    reach = 0.0 if decimals is None else 0.5 * 10.0**-decimals
    least = [edge - max(float32_radius(edge), reach) for edge in edges[1:-1]]
    below = summary.below(np.asarray(least)) if least else np.empty(0)
    counts = np.diff(np.concatenate([[0.0, 0.0], below, [summary.known, summary.known]]))
    return ReferenceColumn(
        name=name,
        kind=kind,
        bins=Bins(edges),
        counts=tuple(np.maximum(np.round(counts), 0.0).tolist()),
        rows=summary.rows,
        nulls=summary.rows - summary.known,
    )
