"""The table of what was done to the cluster and what happened, which the run writes into docs/reference/reliability.md.

A row is known by its fault: a run replaces the rows of the tests that it ran and leaves the others as they are.
"""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from beacon_core.platform.settings import ROOT

PAGE = ROOT / "docs" / "reference" / "reliability.md"
HEAD = "| fault | what must hold | what was seen | when |\n| --- | --- | --- | --- |"


def write(page: Path, fault: str, wanted: str, seen: str, suite: str = "chaos") -> None:
    """Put one row into the page's table of a suite, in place of the older one of the same fault."""
    begin, end = f"<!-- {suite}: written by `make {suite}` -->", f"<!-- end of {suite} -->"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    table, _, after = rest.partition(end)
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    row = f"| {fault} | {wanted} | {seen} | {_stamp()} |"
    places = [place for place, line in enumerate(rows) if line.startswith(f"| {fault} |")]
    if places:
        rows[places[0]] = row
    else:
        rows.append(row)
    page.write_text(f"{before}{begin}\n{HEAD}\n" + "\n".join(rows) + f"\n{end}{after}", encoding="utf-8")


def _stamp() -> str:
    """The day, the code, and how busy the machine was."""
    told = subprocess.run(
        ["git", "rev-parse", "--short=8", "HEAD"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M}, {told.stdout.strip()}, load {os.getloadavg()[0]:.0f}"
