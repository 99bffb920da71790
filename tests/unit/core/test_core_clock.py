"""The clock: the machine's, unless a simulation has shifted it."""

import os
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from beacon_core.platform import clock

DAYS = timedelta(days=60)
MOMENT = timedelta(seconds=5)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BEACON_HOME", str(tmp_path))
    clock._shift.expire()
    yield tmp_path
    clock._shift.expire()


def test_without_a_file_it_is_the_machines(home):
    assert abs(clock.now() - datetime.now(UTC)) < MOMENT
    assert clock.shift() == timedelta(0)


def test_a_shift_holds_for_every_reading(home):
    clock.set_shift(home, DAYS)
    assert abs(clock.now() - datetime.now(UTC) - DAYS) < MOMENT
    assert abs(clock.timestamp() - clock.now().timestamp()) < 1
    (home / "clock").unlink()
    clock._shift.expire()
    assert clock.shift() == timedelta(0)


@pytest.mark.parametrize("text", ["", "soon", "nan", "1e300", "\xff"])
def test_a_damaged_file_shifts_nothing(home, text):
    (home / "clock").write_bytes(text.encode("latin-1"))
    assert clock.shift() == timedelta(0)


def test_the_file_is_looked_at_once_a_second(home, monkeypatch):
    looks = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda *given, **more: looks.append(given) or stat(*given, **more))
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: 1000.0, time=time.time))
    for _ in range(1000):
        clock.timestamp()
    assert len([given for given in looks if str(given[0]).endswith("clock")]) == 1
