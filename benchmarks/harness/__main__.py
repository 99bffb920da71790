"""Measure Beacon, its peers and its floor, and write results.json, docs/reference/benchmarks.md and its picture.

A quick or partial run writes to benchmarks/.work/results instead.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from harness import http_servers
from harness.access import AccessCost, measure_access
from harness.closedloop import Loaded
from harness.families import measure_families
from harness.features import measure_features
from harness.http_servers import measure_http_servers, table
from harness.limits import limits
from harness.machine import ROOT, WORK, BenchError, facts, prepare, say
from harness.measure import Measured, measure
from harness.model import PRODUCT, make_models
from harness.plan import FULL, QUICK
from harness.plot import draw
from harness.report import write_report
from harness.results import Results, read_results, write_results
from harness.servers import SERVERS

FEATURES = "features"
FAMILIES = "families"
ACCESS = "access"
NAMES = [*SERVERS, FEATURES, FAMILIES, ACCESS]
PUBLISHED = ROOT / "benchmarks" / "results.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs; not for publishing")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help="one of " + ", ".join(NAMES))
    parser.add_argument("--report", action="store_true", help="measure nothing: write the page anew from results.json")
    parser.add_argument("--http-servers", action="store_true", help="only the servers that could run inference")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _terminated)
    try:
        if options.report:
            _publish(read_results(PUBLISHED), PUBLISHED)
        elif options.http_servers:
            _compare_http_servers(options.quick)
        else:
            _run(options.only or NAMES, options.quick, complete=not (options.quick or options.only))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    return 0


def _run(names: list[str], quick: bool, complete: bool) -> None:
    began = time.monotonic()
    prepare()
    models = make_models()
    titles = {name: model.title for name, model in models.compared.items()}
    plan = QUICK if quick else FULL
    measured: dict[str, Measured] = {}
    features = None
    families: dict[str, dict[str, Loaded]] = {}
    access: tuple[AccessCost, ...] = ()
    problems = []
    for number, name in enumerate(names, start=1):
        say(f"[{number}/{len(names)}] {name} ({time.monotonic() - began:.0f} s)")
        try:
            if name == FEATURES:
                features = measure_features(models.compared[PRODUCT], plan)
            elif name == FAMILIES:
                families = measure_families(models.families, plan)
            elif name == ACCESS:
                access = measure_access()
            else:
                measured[name] = measure(SERVERS[name], models.compared, plan)
        except BenchError as error:  # one server's failure must not cost the figures of the others
            problems.append(f"{name}: {error}")
            say(f"  {problems[-1]}")
    results = Results(
        facts=facts(sys.argv[1:]),
        models=titles,
        servers=measured,
        features=features,
        families=families,
        access=access,
        limits=limits(titles, measured, features, families, access),
    )
    file = PUBLISHED if complete and not problems else WORK / "results" / "results.json"
    write_results(file, results)
    _publish(results, file)
    for item in results.limits:
        what = f"{item.model}: {item.what}" if item.model else item.what
        say(f"{'holds ' if item.holds else 'BROKEN'}  {what}: {item.limit}: {item.measured}")
    say(f"{time.monotonic() - began:.0f} s; written to {file.relative_to(ROOT)}")
    if problems:
        raise BenchError("not published: " + "; ".join(problems))


def _compare_http_servers(quick: bool) -> None:
    began = time.monotonic()
    prepare()
    figures = measure_http_servers(make_models().compared[PRODUCT], http_servers.QUICK if quick else http_servers.FULL)
    file = WORK / "results" / "http-servers.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(table(figures))
    say(f"\n{file.read_text()}\n{time.monotonic() - began:.0f} s; written to {file.relative_to(ROOT)}")


def _publish(results: Results, file: Path) -> None:
    """Page and picture: in docs for published results, beside the file for others."""
    if not results.servers:
        return
    published = file == PUBLISHED
    page = ROOT / "docs" / "reference" if published else file.parent
    picture = (ROOT / "docs" if published else page) / "images" / "benchmarks.svg"
    draw(picture, results.servers, results.models)
    draw(WORK / "results" / "benchmarks.png", results.servers, results.models)
    write_report(page / "benchmarks.md", results, os.path.relpath(picture, page))


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
