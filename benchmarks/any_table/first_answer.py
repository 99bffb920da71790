"""From `beacon new` to the first answer: what a person waits for."""

import json
import math
import time
from pathlib import Path

from any_table.proposed import propose
from any_table.tables import Table
from tests.system.e2e_laptop.beacon_run import READY, Run, ports_of_a_run


def measure(table: Table, folder: Path) -> str:
    """Seconds until the first command that the run prints is answered, with a value that a target may have."""
    began = time.monotonic()
    product = propose(table, folder)
    run = Run(folder / "home", ports_of_a_run(), product=product.file)
    try:
        run.wait_for(READY)
        answers = run.predictions()
        seconds = time.monotonic() - began
    finally:
        run.clear()
    first = answers[0]["prediction"]
    low, high = product.target.valid  # either end may be open
    if not (-math.inf if low is None else low) <= first <= (math.inf if high is None else high):
        raise SystemExit(f"{table.name}: answered {json.dumps(answers[0])}, outside {product.target.valid}")
    return f"{seconds:.0f} s"
