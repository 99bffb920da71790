"""The room on the volumes that a service writes to, as metrics."""

import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from beacon_core.observability import metrics


def watch_volumes(folders: Mapping[str, Path], registry: CollectorRegistry) -> None:
    """Register size and free bytes of the file system of each folder, by its name; both are read at every scrape."""
    size, free = metrics.gauge(metrics.VOLUME_SIZE, registry), metrics.gauge(metrics.VOLUME_FREE, registry)
    for name, folder in folders.items():
        size.labels(name).set_function(partial(_bytes, folder, "f_blocks"))
        free.labels(name).set_function(partial(_bytes, folder, "f_bavail"))


def _bytes(folder: Path, blocks: str) -> float:
    """So many blocks in bytes; NaN where the file system does not answer. The folder may not be there yet."""
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        found = os.statvfs(there)
    except OSError:
        return math.nan
    return float(getattr(found, blocks) * found.f_frsize)
