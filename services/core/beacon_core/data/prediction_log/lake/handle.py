"""A handle of the lake: one snapshot to read, and what is to be removed from it when the handle ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg.table import Table

from beacon_core.data.prediction_log.lake.lake import Lake
from beacon_core.data.prediction_log.lake.removal import Removals, commit_removal


class LakeHandle:
    """What the functions of the port read by."""

    def __init__(self, lake: Lake, table: Table) -> None:
        self.lake = lake
        self.table = table
        self.removal = Removals()

    def give_up(self) -> None:
        """Remove nothing of what was to be removed."""
        self.removal = Removals()


@contextmanager
def begin(lake: Lake) -> Iterator[LakeHandle]:
    """Give a handle; what it removes is removed at the end of the block, unless that fails."""
    handle = LakeHandle(lake, lake.load())
    yield handle
    if handle.removal:
        commit_removal(lake, handle.removal)
