"""How often a drift alarm is false, and a shift found: Beacon beside its peers (docs/explanation/drift.md).

Each rule runs in processes of its own, Evidently's in an environment of its own (its pins are not ours).
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from drift.streams import DAYS, ROWS_A_DAY, SHIFT

from beacon_core.platform.settings import ROOT

DOCUMENT = ROOT / "docs" / "explanation" / "drift.md"
WORK = ROOT / "benchmarks" / ".work" / "drift-study"
BEGIN, END = "<!-- study -->", "<!-- end of study -->"
Z = 1.959963984540054
EVIDENTLY = ("evidently==0.7.23", "pandas<3")  # it does not import beside pandas 3
OURS = ("core", "drift-profiling")
"""Services that the streams need, in Evidently's environment too."""
Lines = list[dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make drift-study", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--resume", action="store_true", help="keep what an earlier study left in benchmarks/.work")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    python = [sys.executable, "-m"]
    isolated = [os.environ.get("UV", "uv"), "run", "--quiet", "--isolated", "--no-project", "--python", sys.executable]
    isolated += [part for package in EVIDENTLY for part in ("--with", package)]
    isolated += [part for name in OURS for part in ("--with-editable", str(ROOT / "services" / name))]
    isolated += ["python", "-m"]
    beacon, whylogs, evidently = (
        Work(command, options.seeds, WORK / f"{name}.jsonl", options.resume)
        for name, command in (
            ("beacon", [*python, "drift.beacon_rule"]),
            ("whylogs", [*python, "drift.daily", "whylogs_rule"]),
            ("evidently", [*isolated, "drift.daily", "evidently_rule"]),
        )
    )
    lines = [work.run(options.processes) for work in (beacon, whylogs, evidently)]
    digests = [[line["digest"] for line in of_rule] for of_rule in lines]
    if any(other != digests[0] for other in digests):
        raise SystemExit("the rules did not judge the same streams")
    table = _table([line for of_rule in lines for line in of_rule], options.seeds)
    _publish(DOCUMENT, table)
    print(table)
    return 0


class Work:
    """One rule over all seeds; what is done stays in a file, so that a study that was stopped can go on."""

    def __init__(self, command: list[str], seeds: int, file: Path, resume: bool) -> None:
        self.command, self.seeds, self.file = command, seeds, file
        file.parent.mkdir(parents=True, exist_ok=True)
        if not resume:
            file.unlink(missing_ok=True)

    def run(self, processes: int) -> Lines:
        """Share the seeds that are not done out among processes; lines in order of the seeds."""
        todo = sorted(set(range(self.seeds)) - {line["seed"] for line in self.done()})
        with self.file.open("a", encoding="utf-8") as stream:
            running = [
                subprocess.Popen([*self.command, *map(str, todo[place::processes])], stdout=stream)
                for place in range(processes if todo else 0)
            ]
            ended = [process.wait() for process in running]
            if any(ended):
                raise SystemExit(f"{' '.join(self.command)} failed")
        return self.done()

    def done(self) -> Lines:
        """Read what is done of the seeds asked for."""
        if not self.file.exists():
            return []
        lines = [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]
        return sorted((line for line in lines if line["seed"] < self.seeds), key=lambda line: int(line["seed"]))


def _table(lines: Lines, seeds: int) -> str:
    alarms: dict[str, list[bool]] = defaultdict(list)
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        for rule, outcome in line["rules"].items():
            alarms[rule].append(outcome["alarm"])
            for feature, hit in outcome["found"].items():
                found[rule][feature].append(hit)
    features = list(next(iter(found.values())))
    head = ["rule", "quiet runs with an alarm", "shifts found", *features]
    rows = [head, ["---"] * len(head)]
    for rule, hits in found.items():
        every = [hit for feature in features for hit in hits[feature]]
        rows.append([rule, _share(alarms[rule]), _share(every), *(f"{_mean(hits[name]):.1%}" for name in features)])
    streams = f"{seeds} seeds, {DAYS} quiet days of {ROWS_A_DAY} rows, then one shifted by {SHIFT} sd"
    caption = f"`make drift-study`: {streams}."
    return "\n".join([caption, "", *(f"| {' | '.join(row)} |" for row in rows)])


def _mean(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


def _share(hits: list[bool]) -> str:
    """Write a share with Wilson's 95 % interval."""
    rows, share = len(hits), _mean(hits)
    middle = (share + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = Z / (1 + Z**2 / rows) * math.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    return f"{share:.1%} ({max(middle - half, 0):.1%} to {min(middle + half, 1):.1%})"


def _publish(document: Path, table: str) -> None:
    text = document.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
