"""Processes that take all the CPU they can get, as a machine has that does something else, too."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from beacon_laptop.supervision import DIE_WITH_PARENT


@contextlib.contextmanager
def burning(processes: int) -> Iterator[None]:
    """Burn CPU in so many processes while the block runs; none outlives this one."""
    command = [*DIE_WITH_PARENT, sys.executable, "-I", "-S", "-c", "while True: pass"]
    burners = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
        for burner in burners:
            burner.wait()
