"""The lock of a cluster: a Lease that its holder renews, and that nobody can hold for long after dying.

Clocks are never compared: a holder counts as dead when it did not renew for as long as its Lease lasts, by our clock.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from beacon_core.platform.kubernetes import CONFLICT, NOT_FOUND, Access, ClusterError
from beacon_core.platform.locks import BusyError
from beacon_promotion.targets.base.target import TargetUnavailableError

SECONDS = 15
RENEW_SECONDS = 4.0
LOOK_SECONDS = 0.5


class Lease:
    """The Lease `name` of a namespace, held as `holder`; `lost` is set when somebody else may hold it."""

    def __init__(self, access: Access, name: str, holder: str) -> None:
        self._access, self._name, self._holder = access, name, holder
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{access.namespace}/leases"
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
            self._give_back()

    def _take(self) -> None:
        self.lost.clear()
        found = self._read()
        if found is None:
            self._write(None)
            return
        holder = found["spec"].get("holderIdentity")
        if holder and holder != self._holder:
            self._wait_for_death(found)
            found = self._read()
        self._write(found)

    def _wait_for_death(self, found: dict[str, Any]) -> None:
        """Return when the holder has not renewed for as long as its Lease lasts; raises `BusyError` when it does."""
        spec = found["spec"]
        end = time.monotonic() + float(spec.get("leaseDurationSeconds") or SECONDS)
        while time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
            now = self._read()
            if now is None or not now["spec"].get("holderIdentity"):
                return
            if now["spec"].get("renewTime") != spec.get("renewTime"):
                raise BusyError(
                    f"{now['spec']['holderIdentity']} has been at work since {now['spec'].get('acquireTime')}"
                )

    def _renew(self, stop: threading.Event) -> None:
        renewed = time.monotonic()
        while not stop.wait(RENEW_SECONDS):
            try:
                found = self._read()
                if found is None or found["spec"].get("holderIdentity") != self._holder:
                    self.lost.set()
                    return
                self._write(found)
                renewed = time.monotonic()
            except BusyError:
                self.lost.set()
                return
            except ClusterError:
                # Others count on it that we stop before they may begin.
                if time.monotonic() - renewed > SECONDS - RENEW_SECONDS:
                    self.lost.set()
                    return

    def _give_back(self) -> None:
        try:
            found = self._read()
            if found is not None and found["spec"].get("holderIdentity") == self._holder:
                self._write(found, holder="")
        except (ClusterError, BusyError):
            return  # it runs out by itself

    def _read(self) -> dict[str, Any] | None:
        try:
            return self._access.ask("GET", f"{self._path}/{self._name}")
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def _write(self, found: dict[str, Any] | None, holder: str | None = None) -> None:
        """Write it as it was read, changed by nobody since: the API refuses all but one of several writers."""
        before = {} if found is None else found["spec"]
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        held = self._holder if holder is None else holder
        again = before.get("holderIdentity") == held
        spec = {
            "holderIdentity": held,
            "leaseDurationSeconds": SECONDS,
            "acquireTime": before.get("acquireTime", now) if again or not held else now,
            "renewTime": now,
            "leaseTransitions": before.get("leaseTransitions", 0) + (0 if again or not held else 1),
        }
        meta: dict[str, Any] = {"name": self._name, "labels": {"app.kubernetes.io/part-of": "beacon"}}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
        try:
            if found is None:
                self._access.ask("POST", self._path, body)
            else:
                meta["resourceVersion"] = found["metadata"]["resourceVersion"]
                self._access.ask("PUT", f"{self._path}/{self._name}", body)
        except ClusterError as error:
            if error.status == CONFLICT:
                raise BusyError("another run took the lock at the same moment") from error
            raise
