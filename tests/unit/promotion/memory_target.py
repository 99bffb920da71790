"""A place that serves, in memory: what the state machine does to it is written down, and any call may be the last."""

import contextlib
from collections.abc import Iterator, Sequence

from beacon_core.domain.ledger_entries import Reason
from beacon_core.domain.pins import Pin
from beacon_core.model_package.manifest import Package
from beacon_core.model_package.release import Release, ReleaseError
from beacon_core.platform.locks import BusyError
from beacon_promotion.targets.base.target import Instance, ReleaseFailedError


class Killed(BaseException):
    """The process ends here and now."""


class MemoryStateStore(dict[str, bytes]):
    """Notes that count as calls, too."""

    def __init__(self, place: "MemoryTarget") -> None:
        super().__init__()
        self._place = place

    def read(self, name: str) -> bytes | None:
        return self.get(name)

    def write(self, name: str, content: bytes | None) -> None:
        self._place.call(f"note {name}")
        if content is None:
            self.pop(name, None)
        else:
            self[name] = content
        self._place.call(f"noted {name}")


class MemoryTarget:
    """`PromotionTarget` without processes: it serves what is released. `fails` says which call is refused, and why."""

    name, splits, releases_first = "memory", False, False

    def __init__(self, packages: dict[Pin, Package], serving: Pin | None) -> None:
        self.packages = packages
        self.released = None if serving is None else Release(model=serving)
        self.state = MemoryStateStore(self)
        self.fails: dict[str, Reason] = {}
        self.calls: list[str] = []
        self.kill_at = -1
        self.held = self.damaged = False

    def call(self, name: str) -> None:
        if len(self.calls) == self.kill_at:
            raise Killed(name)
        self.calls.append(name)
        if name in self.fails:
            raise ReleaseFailedError(self.fails[name], f"{name} does not work")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        if self.held:
            raise BusyError("another promotion is at work")
        self.held = True
        try:
            yield
        finally:
            self.held = False

    def recover(self) -> list[str]:
        if self.released is not None and self.released.shadow is not None:
            self.released = Release(model=self.released.model)
            return ["a shadow was left over"]
        return []

    def serving(self) -> Release | None:
        if self.damaged:
            raise ReleaseError("the release file is damaged")
        return self.released

    def instances(self) -> list[Instance]:
        return []

    def package(self, pin: Pin) -> Package:
        self.call("package")
        return self.packages[pin]

    def check(self, before: Pin | None, after: Pin) -> None:
        self.call("check")

    @contextlib.contextmanager
    def dark(self, pins: Sequence[Pin]) -> Iterator[list[Instance]]:
        self.call("dark")
        yield [
            Instance(pin.version, f"http://127.0.0.1:1/{pin.version}", "http://127.0.0.1:1/metrics", pin)
            for pin in pins
        ]

    def ended(self, instance: Instance) -> ReleaseFailedError | None:
        return None

    def shadow(self, pin: Pin | None) -> None:
        self.call("shadow")
        assert self.released is not None
        self.released = Release(model=self.released.model, shadow=pin)

    def canary(self, pin: Pin | None, share: float) -> None:
        raise NotImplementedError

    def release(self, pin: Pin) -> None:
        self.call("release")
        self.released = Release(model=pin)
        self.call("released")

    def restore(self, pin: Pin) -> None:
        self.call("restore")
        self.damaged = False
        self.released = Release(model=pin)
        self.call("restored")
