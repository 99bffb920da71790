"""What is tried again, and how long."""

import pytest

from beacon_core.platform import retry
from beacon_core.platform.retry import until_up


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch):
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.01)


def failing(times, error):
    left = [error] * times

    def action():
        if left:
            raise left.pop()
        return "up"

    return action


def test_it_is_tried_until_it_is_up():
    assert until_up(failing(3, OSError("down")), 10, (OSError,)) == "up"


def test_the_last_error_is_raised_when_time_is_over():
    with pytest.raises(OSError, match="down"):
        until_up(failing(10**6, OSError("down")), 0.05, (OSError,))
    with pytest.raises(OSError, match="down"):
        until_up(failing(1, OSError("down")), 0.0, (OSError,))


def test_another_error_is_raised_at_once():
    with pytest.raises(ValueError, match="wrong"):
        until_up(failing(1, ValueError("wrong")), 10, (OSError,))
