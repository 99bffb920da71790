"""One at a time: who comes too late is told who is at work, and a killed process holds nothing."""

import subprocess
import sys
import threading

import pytest

from beacon_core.platform.locks import BusyError, exclusive, wait_for

HOLD = """
import sys, time
from pathlib import Path
from beacon_core.platform.locks import exclusive
with exclusive(Path(sys.argv[1]), "", sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("holder", "told"), [("", r"a run is at work \(.*one is locked\)"), ("me", "at work: me$")])
def test_who_comes_too_late_is_told_and_a_killed_process_holds_nothing(tmp_path, holder, told):
    file = tmp_path / "deep" / "one"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file), holder], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=told) as refused, exclusive(file, "a run is at work"):
            pass
        assert refused.value.holder == holder
        other.kill()
    with exclusive(file, "a run is at work"):
        pass
    assert file.read_text() == "", "whoever held it is not named any more"


def test_a_lock_is_waited_for_and_readers_share_it(tmp_path):
    file, order = tmp_path / "one", []

    def write():
        with wait_for(file):
            order.append("written")

    with wait_for(file, shared=True), wait_for(file, shared=True):
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(0.2)
        order.append("read")
    writer.join()
    assert order == ["read", "written"]
