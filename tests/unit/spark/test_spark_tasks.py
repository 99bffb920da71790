"""Tasks as Spark's workers run them: what they give, and their errors, come back as they were."""

import pickle
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from beacon_core.data.prediction_log.lake import LakeUnavailableError
from beacon_core.domain.data_errors import DataError
from beacon_core.domain.errors import BeaconError
from beacon_core.platform.engine import LOCAL
from beacon_spark.tasks import results_of, run_task


def twice(offset: int, number: int) -> Iterator[int]:
    yield number + offset
    yield number * 10


def failing(kind: type[Exception], arguments: tuple[object, ...], _: None) -> Iterator[int]:
    yield 1
    raise kind(*arguments)


class LockedError(Exception):
    """As libraries have them."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


def test_a_task_gives_what_it_gives_here() -> None:
    packed = run_task(pickle.dumps(partial(twice, 5)), pickle.dumps(7))
    assert results_of(packed) == [12, 70] == list(LOCAL.run(partial(twice, 5), [7]))


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (DataError, ("table.csv", "doors", "must be a number")),
        (BeaconError, ("not_found", "there is none", "features.doors")),
        (LakeUnavailableError, ("the lake's files cannot be read",)),
        (OSError, (28, "No space left on device")),
        (KeyError, ("doors",)),
    ],
)
def test_an_error_is_raised_as_it_was(kind: type[Exception], arguments: tuple[object, ...]) -> None:
    error = kind(*arguments)
    with pytest.raises(kind) as raised:
        results_of(run_task(pickle.dumps(partial(failing, kind, arguments)), pickle.dumps(None)))
    assert str(raised.value) == str(error)
    assert raised.value.__dict__ == error.__dict__
    assert getattr(raised.value, "exit_status", None) == getattr(error, "exit_status", None)


def test_an_error_that_cannot_travel_is_told() -> None:
    with pytest.raises(RuntimeError, match="LockedError: no answer"):
        results_of(run_task(pickle.dumps(partial(failing, LockedError, ("no answer",))), pickle.dumps(None)))


def test_the_local_engine_takes_tasks_as_they_are_needed() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    results = LOCAL.run(partial(twice, 0), tasks())
    assert next(results) == 0
    assert taken == [0]
    assert list(results) == [0, 1, 10, 2, 20]
