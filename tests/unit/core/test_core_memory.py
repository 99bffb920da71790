"""Freed memory goes back to the system, also where some of what was allocated after it is still in use."""

import ctypes
import subprocess
import sys

import pytest

from beacon_core.platform.memory import release_freed_memory

SCATTERED = """
from pathlib import Path
from beacon_core.platform.memory import release_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

blocks = [bytes(4000) for _ in range(25_000)]
kept = bytes(4000)
before = resident()
del blocks
kept_by_the_library = resident()
release_freed_memory()
print(before - kept_by_the_library, before - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_freed_memory_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", SCATTERED], capture_output=True, text=True, check=True)
    at_once, released = map(int, done.stdout.split())
    assert at_once < 50_000_000, "else this test shows nothing"
    assert released > 90_000_000


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    release_freed_memory()
