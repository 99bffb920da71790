"""Work on many rows batch by batch: in constant memory, and on all cores where there are many of them."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib
from threadpoolctl import threadpool_limits

Result = TypeVar("Result")

FEW_ROWS = 20_000
"""Up to so many rows, one thread is done before others have begun."""


def batches(rows: int, most: int) -> list[slice]:
    """The places of all rows in batches of at most `most`, of nearly equal size; one empty batch of no rows."""
    count = max(1, -(-rows // most))
    size, larger = divmod(rows, count)
    starts = [number * size + min(number, larger) for number in range(count + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(starts)]


def over_batches(rows: int, most: int, work: Callable[[slice], Result]) -> list[Result]:
    """What `work` returns for each batch, in order; of many rows on a thread per core.

    What is called must leave Python's lock to others for most of its time, as ONNX Runtime and compiled trees do. Each
    batch is computed on one thread, so that the results do not depend on the number of cores.
    """
    parts = batches(rows, most)
    cores = joblib.cpu_count()
    with threadpool_limits(1):
        if rows <= FEW_ROWS or cores == 1:
            return [work(part) for part in parts]
        # OpenMP has a limit per thread, and a new thread starts without one.
        with ThreadPoolExecutor(cores, initializer=threadpool_limits, initargs=(1,)) as threads:
            return list(threads.map(work, parts))
