"""What a process costs from its start to its end."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# A process inherits its parent's height of memory, so a small one starts the command.
LAUNCH = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(status, time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


class ProcessCost(NamedTuple):
    """Time and processor's time in seconds, memory at its height in MB."""

    seconds: float
    processor_seconds: float
    megabytes: float


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> ProcessCost:
    """Run a command to its end; raises SystemExit where it fails."""
    line = [sys.executable, "-I", "-S", "-c", LAUNCH, *map(str, command)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    status, *figures = done.stdout.split()
    if status != "0":
        raise SystemExit(f"{' '.join(map(str, command))} ended with status {status}")
    return ProcessCost(*map(float, figures))
