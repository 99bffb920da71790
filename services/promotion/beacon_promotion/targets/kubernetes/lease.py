"""The lock of a cluster: a Lease that its holder renews, and that expires soon after its holder died.

The client's own leader election knows locks in ConfigMaps alone, gives none back and never ends (decision 13).
Clocks are never compared: a holder counts as dead when it did not renew for as long as its Lease lasts, by our clock.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from kubernetes.client import CoordinationV1Api

from beacon_core.platform.kubernetes import CONFLICT, NOT_FOUND, Access, ClusterError
from beacon_core.platform.locks import BusyError
from beacon_promotion.targets.base.target import TargetUnavailableError
from beacon_promotion.targets.kubernetes.names import PART_OF, Names

SECONDS = 15
RENEW_SECONDS = 4.0
LOOK_SECONDS = 0.5
Document = dict[str, Any]


class Lease:
    """The Lease of an installation, held as `holder`; `lost` is set when somebody else may hold it."""

    def __init__(self, access: Access, names: Names, holder: str) -> None:
        self._access, self._name, self._holder = access, names.promotion, holder
        self._labels = {PART_OF: names.installation}
        self._leases = CoordinationV1Api(access.client())
        self.lost = threading.Event()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for the block and renew it meanwhile; raises `BusyError` while another holder lives."""
        try:
            self._take()
        except ClusterError as error:
            raise TargetUnavailableError(str(error)) from error
        stop = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(stop,), daemon=True)
        renewal.start()
        try:
            yield
        finally:
            stop.set()
            renewal.join()
            with suppress(ClusterError, BusyError):  # it runs out by itself
                if self._is_mine(found := self._read()):
                    self._write(found, holder="")

    def _take(self) -> None:
        self.lost.clear()
        found = self._read()
        if found is not None and found["spec"].get("holderIdentity") and not self._is_mine(found):
            self._wait_for_death(found["spec"])
            found = self._read()
        self._write(found, self._holder)

    def _wait_for_death(self, spec: Document) -> None:
        """Return when the holder has not renewed for as long as its Lease lasts; raises `BusyError` when it does."""
        end = time.monotonic() + float(spec.get("leaseDurationSeconds") or SECONDS)
        while time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
            now = (self._read() or {"spec": {}})["spec"]
            if not now.get("holderIdentity"):
                return
            if now.get("renewTime") != spec.get("renewTime"):
                raise BusyError(f"{now['holderIdentity']} has been at work since {now.get('acquireTime')}")

    def _renew(self, stop: threading.Event) -> None:
        renewed = time.monotonic()
        while not stop.wait(RENEW_SECONDS):
            try:
                if not self._is_mine(found := self._read()):
                    break
                self._write(found, self._holder)
                renewed = time.monotonic()
            except BusyError:
                break
            except ClusterError:
                # Others count on it that we stop before they may begin.
                if time.monotonic() - renewed > SECONDS - RENEW_SECONDS:
                    break
        else:
            return
        self.lost.set()

    def _is_mine(self, found: Document | None) -> bool:
        return found is not None and found["spec"].get("holderIdentity") == self._holder

    def _read(self) -> Document | None:
        try:
            return self._access.call(self._leases.read_namespaced_lease, name=self._name)
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def _write(self, found: Document | None, holder: str) -> None:
        """Write it as it was read, changed by nobody since: the API refuses all but one of several writers."""
        before = {} if found is None else found["spec"]
        # The API takes no time without its microseconds, which the client's own writing leaves out where they are 0.
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        begins = holder not in {"", before.get("holderIdentity")}
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": SECONDS,
            "acquireTime": now if begins else before.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": before.get("leaseTransitions", 0) + begins,
        }
        meta: Document = {"name": self._name, "labels": self._labels}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
        try:
            if found is None:
                self._access.call(self._leases.create_namespaced_lease, body=body)
            else:
                meta["resourceVersion"] = found["metadata"]["resourceVersion"]
                self._access.call(self._leases.replace_namespaced_lease, name=self._name, body=body)
        except ClusterError as error:
            if error.status == CONFLICT:
                raise BusyError("another run took the lock at the same moment") from error
            raise
