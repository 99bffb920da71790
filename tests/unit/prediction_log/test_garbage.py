"""The log's process looks for garbage between chunks, where there may be some."""

import gc
import weakref

import pytest

from beacon_prediction_log import garbage


class Knot:
    """Garbage that only a look finds: it holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_it_was():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_it_looks_between_chunks_alone():
    garbage.look_between_chunks()
    gc.collect()
    gone = weakref.ref(Knot())
    records = [[number] for number in range(2 * garbage.BETWEEN_OBJECTS)]
    assert gone() is not None, "amid a chunk it does not look"
    garbage.look()
    assert gone() is None
    assert len(records) == 2 * garbage.BETWEEN_OBJECTS


def test_a_small_chunk_is_no_reason_to_look():
    garbage.look_between_chunks()
    gc.collect()
    kept = weakref.ref(Knot())
    garbage.look()
    assert kept() is not None
