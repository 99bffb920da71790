"""`beacon check` on a large table: time and memory of its process."""

import os
import subprocess
import time
from pathlib import Path

from any_table.proposed import job, propose
from any_table.tables import Table


def measure(table: Table, folder: Path) -> str:
    """Seconds, and the most memory that was resident."""
    product = propose(table, folder)
    began = time.monotonic()
    process = subprocess.Popen([*job("check"), str(product.file)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{product.file}: beacon check ended with {process.returncode}")
    return f"{seconds:.0f} s, {used.ru_maxrss / 2**20:.2f} GiB"
