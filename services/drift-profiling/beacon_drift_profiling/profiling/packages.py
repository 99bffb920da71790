"""The references in force: each model version's package, verified, with its profile as the columns of a comparison."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from beacon_core.domain.pins import NAME
from beacon_core.domain.precision import STEPS_PER_UNIT, float32_radius, float32_range, rounded, to_float32
from beacon_core.domain.product import Feature, Product
from beacon_core.model_package.manifest import PROFILE_FILE, Manifest, PackageError, read_package
from beacon_drift_profiling.comparison.reference import PARTS, PREDICTION, Kind, ReferenceColumn, numeric_edges
from beacon_drift_profiling.profiling.aggregates import NormalRange
from beacon_drift_profiling.profiling.profile import Edges, Profile, ProfileError, Summary


class Reference(msgspec.Struct, frozen=True):
    """What a model version is compared with; `bins_digest` tells profiles made with other bins from its own."""

    version: str
    manifest: Manifest
    columns: tuple[ReferenceColumn, ...]
    bins_digest: str

    @property
    def edges(self) -> Edges:
        """The bins of every column."""
        return {column.name: (column.edges, column.categorical) for column in self.columns}

    @property
    def importances(self) -> dict[str, float]:
        """Each feature's share of all importance, the most important first."""
        total = sum(max(facts.importance, 0.0) for facts in self.manifest.features) or 1.0
        shares = {facts.name: max(facts.importance, 0.0) / total for facts in self.manifest.features}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def normal_range(self, names: tuple[str, ...]) -> NormalRange | None:
        """The most important feature, and training's quantiles 1 % and 99 % of it."""
        first = next(iter(self.importances))
        facts = next(facts for facts in self.manifest.features if facts.name == first)
        if first not in names:
            return None
        return NormalRange(names.index(first), *float32_range(facts.quantiles[0], facts.quantiles[-1]))


class NoReference(msgspec.Struct, frozen=True):
    """Why a model version cannot be compared."""

    version: str
    reason: str


def load_reference(models: Path, product: Product, version: str, sha256: str) -> Reference | NoReference:
    """Read the package of a version, pinned by the digest that its predictions were logged with."""
    if not NAME.fullmatch(version):
        return NoReference(version, "its name is not a valid version name")
    folder = models / product.name / version
    try:
        manifest = read_package(folder, sha256).manifest
        if PROFILE_FILE not in manifest.files:
            return NoReference(version, f"its package holds no {PROFILE_FILE}")
        columns = columns_of(Profile.read((folder / PROFILE_FILE).read_bytes()).columns(), product)
    except (PackageError, ProfileError, OSError) as error:
        return NoReference(version, str(error))
    places = [[column.name, column.edges, column.categorical] for column in columns]
    bins_digest = hashlib.sha256(json.dumps(places).encode()).hexdigest()[:16]
    return Reference(version, manifest, columns, bins_digest)


def columns_of(summaries: dict[str, Summary], product: Product) -> tuple[ReferenceColumn, ...]:
    """Return the columns of a reference profile that a comparison can use."""
    columns = [_column(feature.name, "data", summaries.get(feature.name), feature) for feature in product.features]
    columns.append(_column(PREDICTION, "prediction", summaries.get(PREDICTION), None))
    columns.append(_column(product.target.name, "target", summaries.get(product.target.name), None))
    return tuple(column for column in columns if column is not None)


def _column(name: str, kind: Kind, summary: Summary | None, feature: Feature | None) -> ReferenceColumn | None:
    """One column's bins and counts; None where training saw no value of it."""
    if summary is None or summary.known == 0:
        return None
    if feature is not None and feature.categories is not None:
        edges = tuple(float(value) for value in sorted(feature.categories))
        middles = np.asarray([(low + high) / 2 for low, high in pairwise(edges)])
        below = summary.below(np.asarray([edges[0] - 0.5, *middles, edges[-1] + 0.5]))
        counts = np.diff(below)
        counts = np.append(counts, summary.known - counts.sum())
    else:
        quantiles = summary.quantiles([0.0, *(np.arange(1, PARTS) / PARTS), 1.0])
        # As later values are seen: predictions rounded as clients get them, and all values as a model sees them.
        low, *inner, high = map(to_float32, rounded(quantiles) if kind == "prediction" else quantiles)
        edges = numeric_edges(np.asarray(inner), low, high)
        reach = 0.5 / STEPS_PER_UNIT if kind == "prediction" else 0.0
        least = [edge - max(float32_radius(edge), reach) for edge in edges[1:-1]]
        below = summary.below(np.asarray(least)) if least else np.empty(0)
        counts = np.diff(np.concatenate([[0.0, 0.0], below, [summary.known, summary.known]]))
    return ReferenceColumn(
        name=name,
        kind=kind,
        categorical=feature is not None and feature.categories is not None,
        edges=edges,
        counts=tuple(np.maximum(np.round(counts), 0.0).tolist()),
        rows=summary.rows,
        nulls=summary.rows - summary.known,
    )
