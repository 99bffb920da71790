"""What a process costs with all that it started, looked at while it runs."""

import contextlib
import threading
import time
from typing import NamedTuple, Self

import psutil

LOOK_SECONDS = 0.5


class Look(NamedTuple):
    """At a moment of the monotonic clock: GiB of all processes, and the processors' seconds that they took so far."""

    moment: float
    gibibytes: float
    seconds: float


class ProcessTree:
    """Looks at a tree of processes; a context manager.

    Pages that processes share count once (proportional set size): the search's processes map one copy of the rows.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._done = threading.Event()
        self._looks = [Look(time.monotonic(), 0.0, 0.0)]
        self._seconds: dict[int, float] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> tuple[float, float]:
        """The most GiB between two moments, and the processors' seconds that were taken."""
        looks = [look for look in self._looks if begin <= look.moment <= end] or self._looks[-1:]
        return max(look.gibibytes for look in looks), looks[-1].seconds - looks[0].seconds

    def _watch(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            size = 0
            with contextlib.suppress(psutil.Error):
                for process in (self._root, *self._root.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        size += process.memory_full_info().pss
                        used = process.cpu_times()
                        # What has ended counts by its last look.
                        self._seconds[process.pid] = used.user + used.system
            self._looks.append(Look(time.monotonic(), size / 2**30, sum(self._seconds.values())))
