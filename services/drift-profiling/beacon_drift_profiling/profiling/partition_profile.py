"""The profile of one partition, made batch by batch: memory does not grow with the rows of an hour.

An hour with many rows is cut into slices of time, each profiled for itself (`slices`); their results are joined.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
import numpy as np

from beacon_core.data import profiles
from beacon_core.data.profiles import Aggregates, ClientRows, ProfileContent
from beacon_core.domain.product import Product
from beacon_core.domain.segments import segment_masks
from beacon_drift_profiling.comparison.reference import PREDICTION, Bins
from beacon_drift_profiling.profiling.aggregates import ALL, NormalRange, add, aggregates_by, aggregates_of
from beacon_drift_profiling.profiling.client_rows import bin_counts, client_masks, largest, merge
from beacon_drift_profiling.profiling.feature_reader import PartitionRows
from beacon_drift_profiling.profiling.profile import Profile, profile_rows, rows_of

DIGEST_CHARACTERS = 32
NAMED = 20
"""How many ids of rows that were set aside are kept."""


class ProfileBounds(msgspec.Struct, frozen=True):
    """What a model's reference says of its rows; residuals above `large_residual` (target's unit) are large."""

    target: str
    bins: Mapping[str, Bins]
    normal: NormalRange | None
    large_residual: float


class ProfileResult(msgspec.Struct, frozen=True):
    """Profiles by segment (`WHOLE` is all rows), and what is kept beside them."""

    profiles: dict[str, Profile]
    content: ProfileContent

    @property
    def rows(self) -> int:
        """The rows that were profiled."""
        return int(self.content.segments.get(ALL, {}).get("rows", 0))


class PartitionProfile:
    """Profiles and aggregates of the rows added so far; `set_aside_ids` are some of those that could not be read."""

    def __init__(self, hour: datetime, product: Product, bounds: ProfileBounds, per_segment: bool) -> None:
        self._hour = hour
        self._product = product
        self._bounds = bounds
        self._per_segment = per_segment
        self._profiles: dict[str, Profile] = {}
        self._ids, self._actuals, self._unread = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self.rows = 0
        self.set_aside = 0
        self.set_aside_ids: list[str] = []
        self.segments: dict[str, Aggregates] = {}
        self.clients: dict[str, ClientRows] = {}

    def add(self, batch: PartitionRows) -> None:
        """Add the next rows of the partition, in order of their ids."""
        rows = batch.rows
        self.rows += len(batch.ids)
        self.set_aside += len(batch.set_aside)
        self.set_aside_ids += batch.set_aside[: NAMED - len(self.set_aside_ids)]
        self._ids.update("\n".join((*batch.ids, "")).encode())
        self._actuals.update(rows.actual.tobytes())
        self._unread.update("\n".join((*batch.set_aside, "")).encode())
        limits = (self._product, self._bounds.normal, self._bounds.large_residual)
        add(self.segments, aggregates_of(rows, *limits))
        senders = client_masks(batch.clients)
        for client, sums in aggregates_by(senders, rows, *limits).items():
            counts = bin_counts(batch.columns, self._bounds.bins, senders[client])
            merge(self.clients, {client: ClientRows(sums, counts)})
        masks = {profiles.WHOLE: np.ones(len(batch.ids), dtype=bool)}
        if self._per_segment:
            masks |= segment_masks(self._product, rows.segmented, rows.prediction)
        columns = batch.columns | {PREDICTION: rows.prediction, self._bounds.target: rows.actual}
        for name, mask in masks.items():
            if name == profiles.WHOLE or mask.any():
                chosen = {column: rows_of(values, mask) for column, values in columns.items()}
                self._merge(name, profile_rows(chosen, self._hour, self._bounds.bins))

    def result(self, bins_digest: str) -> ProfileResult:
        """What was made of the rows; `bins_digest` names the bins."""
        labelled = self.segments.get(ALL, {}).get("labelled", 0.0)
        content = ProfileContent(
            self._digest(bins_digest), bins_digest, self.set_aside, labelled, self.segments, largest(self.clients)
        )
        return ProfileResult(self._profiles, content)

    def _digest(self, bins_digest: str) -> str:
        """Name what the profiles are made of: the rows, their actuals, the bins."""
        parts = [bins_digest, str(self._per_segment)]
        return _digest_of([*parts, *(part.hexdigest() for part in (self._ids, self._actuals, self._unread))])

    def _merge(self, name: str, profile: Profile) -> None:
        before = self._profiles.get(name)
        self._profiles[name] = profile if before is None else before.merge(profile)


def joined(results: Iterable[ProfileResult]) -> ProfileResult:
    """Join the results of a partition's slices, in their order; there is at least one."""
    profiles: dict[str, Profile] = {}
    segments: dict[str, Aggregates] = {}
    clients: dict[str, ClientRows] = {}
    contents: list[ProfileContent] = []
    for result in results:
        for name, profile in result.profiles.items():
            profiles[name] = profiles[name].merge(profile) if name in profiles else profile
        add(segments, result.content.segments)
        merge(clients, result.content.clients)
        contents.append(result.content)
    if len(contents) == 1:
        return ProfileResult(profiles, contents[0])
    content = ProfileContent(
        digest=_digest_of([each.digest for each in contents]),
        bins_digest=contents[0].bins_digest,
        set_aside=sum(each.set_aside for each in contents),
        labelled=sum(each.labelled for each in contents),
        segments=segments,
        clients=largest(clients),
    )
    return ProfileResult(profiles, content)


def _digest_of(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGEST_CHARACTERS]
