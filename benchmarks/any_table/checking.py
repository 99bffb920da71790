"""`beacon check` on a large table: time and memory of its process."""

from pathlib import Path

import process_cost

from any_table.proposed import job, propose
from any_table.tables import Table


def measure(table: Table, folder: Path) -> str:
    """Seconds, and the most memory that was resident."""
    product = propose(table, folder)
    cost = process_cost.run([*job("check"), product.file])
    return f"{cost.seconds:.0f} s, {cost.megabytes / 1024:.2f} GiB"
