"""A handle of the lake: one snapshot to read, and what is to be removed from it when the handle ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyiceberg.table import Table

from beacon_core.data.prediction_log.lake.lake import Lake
from beacon_core.data.prediction_log.lake.removal import Removals, commit_removal
from beacon_core.data.prediction_log.lake.snapshot import Parts, open_parts, parts_of
from beacon_core.platform.engine import LOCAL, JobEngine


class LakeHandle:
    """What the functions of the port read by; `jobs` runs what reads many files.

    It can be pickled: another process reads the same snapshot, and removes nothing.
    """

    def __init__(self, lake: Lake, table: Table, jobs: JobEngine = LOCAL) -> None:
        self.lake = lake
        self.table = table
        self.jobs = jobs
        self.removal = Removals()

    def __reduce__(self) -> tuple[Callable[..., "LakeHandle"], Parts]:
        assert not self.removal  # noqa: S101 - what removes does so in one process
        return _reopened, parts_of(self.table)

    def give_up(self) -> None:
        """Remove nothing of what was to be removed."""
        self.removal = Removals()


def _reopened(*parts: Any) -> LakeHandle:
    return LakeHandle(*open_parts(*parts))


@contextmanager
def begin(lake: Lake, jobs: JobEngine = LOCAL) -> Iterator[LakeHandle]:
    """Give a handle; what it removes is removed at the end of the block, unless that fails."""
    handle = LakeHandle(lake, lake.load(), jobs)
    yield handle
    if handle.removal:
        commit_removal(lake, handle.removal)
