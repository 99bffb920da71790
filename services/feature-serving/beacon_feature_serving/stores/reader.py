"""The interface of a reader of the online store, and the error that it raises."""

from collections.abc import Sequence
from typing import Protocol

from beacon_core.domain.errors import BeaconError
from beacon_feature_serving.catalog.plans import ViewRead
from beacon_feature_serving.rows import FeatureRow


class OnlineStoreReader(Protocol):
    """Reads rows of one online store."""

    async def read(self, view: ViewRead, keys: Sequence[bytes]) -> list[FeatureRow | None]:
        """One row per encoded entity key, None where the store has none; raises `unavailable` within the time limit."""
        ...

    async def check(self) -> None:
        """Raise `unavailable` within the time limit if the store does not answer."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def unavailable(reason: str) -> BeaconError:
    """The online store does not answer; the client may try again."""
    return BeaconError("feature_store_unavailable", f"the online store does not answer: {reason}")
