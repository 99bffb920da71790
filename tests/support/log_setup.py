"""The logs' set-up of this process, which a command called in it changes: kept, and brought back."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_log_setup() -> Iterator[None]:
    """Whatever the block sets up ends with it: it would write to a terminal that is gone, for every later test."""
    root, beacon = logging.root, logging.getLogger("beacon")
    handlers, levels, hooks = list(root.handlers), (root.level, beacon.level), (sys.excepthook, threading.excepthook)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers = handlers
        root.setLevel(levels[0])
        beacon.setLevel(levels[1])
        sys.excepthook, threading.excepthook = hooks
