"""A stop that signals ask for: as many as come, in the middle of each other."""

import os
import signal
import subprocess
import sys
import time

import pytest

WAITING = """
import time
from beacon_laptop.stop_request import stop_on_signals
stop = stop_on_signals()
print("ready", flush=True)
while not stop.is_made:
    time.sleep(0)
time.sleep(1)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_many_signals_at_once_are_one_request(number: signal.Signals) -> None:
    """A handler that takes a lock would wait for itself: make sends a second signal right after the terminal's."""
    process = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            os.kill(process.pid, number)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
