"""A task as Spark runs it: bytes in, bytes out. Errors are results, so that a job reports its own errors.

Spark tries a task again where a worker was lost. What the task itself raises would be raised again: it is not tried
twice, and reaches the driver as it was.
"""

import pickle
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

KEPT = 2
MARK_OK, MARK_ERROR = b"\0", b"\1"


def run_task(function: bytes, task: bytes) -> bytes:
    """Run a pickled function on a pickled task, and pickle all that it gives, or its error."""
    try:
        given = pickle.loads(task)  # noqa: S301 - of the driver
        return MARK_OK + pickle.dumps(list(_function(function)(given)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - whatever it is, the driver raises it
        return MARK_ERROR + pickle.dumps(_packed(error))


@lru_cache(maxsize=KEPT)
def _function(packed: bytes) -> Callable[[Any], Iterable[Any]]:
    """The function, unpacked once per worker: it may bring a model along."""
    function: Callable[[Any], Iterable[Any]] = pickle.loads(packed)  # noqa: S301 - of the driver
    return function


def results_of(packed: bytes) -> list[Any]:
    """What a task gave; raises its error."""
    found = pickle.loads(packed[1:])  # noqa: S301 - of our own workers
    if packed[:1] == MARK_OK:
        results: list[Any] = found
        return results
    raise _unpacked(found)


def _packed(error: Exception) -> tuple[type[Exception], tuple[Any, ...], dict[str, Any]]:
    """An exception by its parts: to call its class again, as pickle does, needs arguments that it has not kept."""
    parts = type(error), error.args, error.__dict__
    try:
        pickle.dumps(parts)
    except Exception:  # noqa: BLE001 - of a library, with a lock or a socket inside
        return RuntimeError, (f"{type(error).__name__}: {error}",), {}
    return parts


def _unpacked(parts: tuple[type[Exception], tuple[Any, ...], dict[str, Any]]) -> Exception:
    kind, arguments, attributes = parts
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(attributes)
    return error
