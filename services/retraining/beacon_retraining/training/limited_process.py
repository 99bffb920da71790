"""A process that the parent can end: when it hangs, takes too much memory, or is done; it ends with the parent."""

import contextlib
import multiprocessing
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import joblib
import psutil

LOOK_SECONDS = 0.2
"""How often time and memory are looked at."""
MEMORY_SHARE = 0.8
"""Of the memory that is free at the start, for all processes together."""

Serve = Callable[..., None]
_STARTING = threading.Lock()


def memory_of_each(count: int) -> float:
    """The bytes that each of `count` processes at once may take (-1: one per core)."""
    return float(MEMORY_SHARE * psutil.virtual_memory().available / (joblib.cpu_count() if count < 0 else count))


class LimitedProcess:
    """Runs `serve(pipe, *arguments)`, a function of a module, in a process of its own."""

    def __init__(self, serve: Serve, *arguments: object) -> None:
        # Not fork: a copy of a process whose OpenMP has run hangs in its first parallel loop.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([serve.__module__])
        self.pipe, theirs = context.Pipe()
        self._leash, end = context.Pipe()
        self._process: Any = context.Process(target=_run, args=(serve, theirs, end, arguments), daemon=True)
        with _no_program():
            self._process.start()
        theirs.close()
        end.close()
        self._begun = self._most_seconds = 0.0

    def begin(self, message: object, most_seconds: float) -> None:
        """Send a message whose answer may take so long."""
        self._begun, self._most_seconds = time.monotonic(), most_seconds
        self.pipe.send(message)

    @property
    def is_late(self) -> bool:
        """Whether its task took longer than it may."""
        return time.monotonic() - self._begun > self._most_seconds

    def excess(self, most_bytes: float) -> str:
        """What of its task is over a limit; empty where nothing is."""
        if self.is_late:
            return f"took more than {self._most_seconds:.0f} s, and was ended"
        with contextlib.suppress(psutil.Error):
            size = psutil.Process(self._process.pid).memory_info()
            own = size.rss - getattr(size, "shared", 0)
            if own > most_bytes:
                return f"took {own / 1e9:.1f} GB of memory, more than {most_bytes / 1e9:.1f} GB, and was ended"
        return ""

    def ending(self) -> str:
        """How a process ended whose pipe is closed."""
        self._process.join()
        return f"its process ended with status {self._process.exitcode}"

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self.pipe.close()
        self._leash.close()


@contextlib.contextmanager
def _no_program() -> Iterator[None]:
    """Hide the program: each process would import it anew, with MLflow and all, which takes longer than a fit."""
    with _STARTING:
        program = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = program


def _run(serve: Serve, pipe: Connection, leash: Connection, arguments: tuple[object, ...]) -> None:
    threading.Thread(target=_end_with_parent, args=(leash,), daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):
        serve(pipe, *arguments)


def _end_with_parent(leash: Connection) -> None:
    """Wait for the parent's end, however it came, and end at once: a fit may take minutes."""
    with contextlib.suppress(EOFError, ConnectionError):
        leash.recv()
    os._exit(1)
