"""Slices of a partition: an hour with many rows is cut by time, so that an engine can share it out.

Which slices there are follows from the hour and their number alone.
"""

import math

from beacon_core.data.prediction_log.partitions import HOUR, Partition, TimeSpan

SLICE_ROWS = 250_000
"""A slice has about so many rows where they come evenly: what a database sorts at once.

One with more rows takes longer, and no more memory: rows are read in batches.
"""
MOST_SLICES = 3600


def cut(partition: Partition, rows: int) -> list[TimeSpan]:
    """Cut a partition with about so many rows."""
    return cut_into(partition, min(max(math.ceil(rows / SLICE_ROWS), 1), MOST_SLICES))


def cut_into(partition: Partition, count: int) -> list[TimeSpan]:
    """Cut a partition into slices of equal time."""
    edges = [partition.hour + HOUR * number / count for number in range(count + 1)]
    return [TimeSpan(*edges[number : number + 2]) for number in range(count)]
