"""The interface of a promotion target: a laptop's processes or a cluster's release.

The state machine knows nothing else of it, and no target decides which model serves. Every call that changes something
waits until it is done, may be repeated, and leaves the old model in service when it fails. Any call may raise
`TargetUnavailableError` where the target does not answer (an API server that is down): nothing was decided then.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN
from beacon_core.domain.ledger_entries import Reason
from beacon_core.domain.pins import Pin
from beacon_core.model_package.manifest import Package
from beacon_core.model_package.release import Release


class TargetUnavailableError(Exception):
    """The target does not answer, or cannot be changed now; trying again may help."""

    exit_status = TRY_AGAIN


class ReleaseFailedError(Exception):
    """A model is missing, does not start or must not be released; `reason` is one of the ledger's."""

    exit_status = REFUSED

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class Instance(msgspec.Struct, frozen=True):
    """One process that answers, addressed by itself: `url` takes predictions, `metrics_url` ends in /metrics.

    `pin` is the model that it reports; None while it serves none.
    """

    name: str
    url: str
    metrics_url: str
    pin: Pin | None


class StateStore(Protocol):
    """A few small named entries that outlive a run and need neither the database nor MLflow.

    On a laptop a folder, on a cluster a ConfigMap of the target's namespace. Names are `[a-z_]+`.
    """

    def read(self, name: str) -> bytes | None:
        """What was written under the name last, or None."""
        ...

    def write(self, name: str, content: bytes | None) -> None:
        """Keep it, in one step and on disk when this returns; None removes it."""
        ...


class PromotionTarget(Protocol):
    """A place that serves models. The ledger has its `name` (`laptop`, `cluster NAMESPACE/RELEASE`)."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> StateStore: ...

    @property
    def splits(self) -> bool:
        """Whether a canary can have a share of the users' requests."""
        ...

    @property
    def releases_first(self) -> bool:
        """Whether it waits for promotion to release the first model; others get that one from who installs them."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Hold the one lock; raises `BusyError`. A run that died does not hold it (a Lease: no longer than it lasts).

        A holder that lost it must not go on to change anything: each changing call raises `TargetUnavailableError`.
        """
        ...

    def recover(self) -> list[str]:
        """Undo what a run that died left half done; one sentence per change.

        A canary, a shadow or dark instances left over are removed, an upgrade that hangs is undone. The caller decides
        afterwards which model serves, by `release` or `restore`.
        """
        ...

    def serving(self) -> Release | None:
        """What is released now; None where nothing is. Raises `ReleaseError` where that cannot be read."""
        ...

    def instances(self) -> list[Instance]:
        """Every process that answers users, canaries included and dark ones not; empty where nothing runs."""
        ...

    def package(self, pin: Pin) -> Package:
        """The package as the target's instances would load it, downloaded from MLflow where it is missing.

        Raises `ReleaseFailedError` (package_missing, digest_mismatch).
        """
        ...

    def check(self, before: Pin | None, after: Pin) -> None:
        """Raise `ReleaseFailedError` unless `after` may be released; nothing is touched.

        Only the model may change (other_changes), and there must be a way back to `before` (no_way_back).
        """
        ...

    def dark(self, pins: Sequence[Pin]) -> AbstractContextManager[list[Instance]]:
        """Instances of their own, one for each pin and in its order, alike but for the model, ready and self-tested.

        No user reaches them, and what they answer is not in the prediction log. They are gone after the block.
        Raises `ReleaseFailedError` (crash_at_load, digest_mismatch, schema_mismatch, golden_mismatch, memory,
        not_ready).
        """
        ...

    def ended(self, instance: Instance) -> ReleaseFailedError | None:
        """Why an instance of `dark` or of the canary has died since it got ready (memory, ...); None where it lives."""
        ...

    def shadow(self, pin: Pin | None) -> None:
        """Let `pin` answer beside the released model, its answers logged and returned to nobody; None ends it."""
        ...

    def canary(self, pin: Pin | None, share: float) -> None:
        """Give `pin` about `share` of the users' requests (0 to 1), by instances of its own; None ends it.

        Only where `splits`. Raises `ReleaseFailedError` when its instances do not get ready.
        """
        ...

    def release(self, pin: Pin) -> None:
        """Let every instance serve `pin`, without shadow or canary; raises `ReleaseFailedError` when one does not."""
        ...

    def restore(self, pin: Pin) -> None:
        """Go back to the release that served `pin`, with what it may of its configuration; raises `ReleaseFailedError`.

        Needs neither the database nor MLflow nor Prometheus.
        """
        ...
