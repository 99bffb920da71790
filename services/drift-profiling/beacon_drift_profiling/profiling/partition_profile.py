"""The profile of one partition, made batch by batch: memory does not grow with the rows of an hour."""

import hashlib
from collections.abc import Mapping
from datetime import datetime

import msgspec
import numpy as np

from beacon_core.data import profiles
from beacon_core.data.profiles import Aggregates, ClientRows
from beacon_core.domain.product import Product
from beacon_core.domain.segments import segment_masks
from beacon_drift_profiling.comparison.reference import PREDICTION, Bins
from beacon_drift_profiling.profiling.aggregates import NormalRange, add, aggregates_by, aggregates_of
from beacon_drift_profiling.profiling.client_rows import bin_counts, client_masks, merge
from beacon_drift_profiling.profiling.log import PartitionRows
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

    def profiles(self) -> dict[str, Profile]:
        """The profile of all rows (`WHOLE`), and of each segment that has rows where these were asked for."""
        return self._profiles

    def digest(self, bins_digest: str) -> str:
        """Name what the profiles are made of: the rows, their actuals, the bins."""
        parts = [bins_digest, str(self._per_segment)]
        parts += [part.hexdigest() for part in (self._ids, self._actuals, self._unread)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGEST_CHARACTERS]

    def _merge(self, name: str, profile: Profile) -> None:
        before = self._profiles.get(name)
        self._profiles[name] = profile if before is None else before.merge(profile)
