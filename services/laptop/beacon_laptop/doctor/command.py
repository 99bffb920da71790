"""Find out what is wrong with this machine, this state and this cluster, and how to mend it.

Each line is ok, warn or fail, with the command that mends it. Exit 0 nothing is broken, 1 something is.
"""

import os
from collections.abc import Iterator

from beacon_cli.terminal import COLOURS
from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.masking import mask
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.locks import BusyError, exclusive
from beacon_core.platform.progress import Progress
from beacon_core.platform.settings import Settings
from beacon_laptop.doctor import machine, state
from beacon_laptop.doctor.cluster import cluster
from beacon_laptop.doctor.findings import DoctorResult, Finding, result_of
from beacon_laptop.doctor.log_stores import log_stores
from beacon_laptop.reporter import report

WIDTH = 28


def main(settings: Settings) -> int:
    """Look at everything."""
    parser = CommandParser(description=__doc__)
    parser.add_argument(
        "--cluster", action="store_true", help="look at the cluster of kubectl, instead of this machine"
    )
    parser.add_argument("--namespace", default="beacon", help="of the cluster (default: beacon)")
    parser.add_argument("--time-url", metavar="URL", help="an HTTP server to compare the clock with")
    parser.add_argument("--quick", action="store_true", help="without the check of the product and its data")
    given = parser.parse_args()
    checks = cluster(given.namespace) if given.cluster else here(settings, given.time_url, quick=given.quick)
    progress, findings = Progress("checks", unit="done"), []
    for finding in checks:
        findings.append(finding)
        progress.show(len(findings))
        if not results.is_json():
            _show(finding)
    result = result_of(findings)
    results.give(result)
    if not results.is_json():
        report(_summary(result))
    return REFUSED if result.state == "fail" else 0


def here(settings: Settings, time_url: str | None, *, quick: bool) -> Iterator[Finding]:
    """The checks of this machine and of the state."""
    runs = is_running(settings)
    yield from machine.programs()
    yield from machine.environments()
    yield from machine.disk(settings.home)
    yield from machine.memory()
    yield from machine.ports(settings, runs=runs)
    yield from state.folder(settings.home)
    yield from state.database(settings)
    yield from state.online_store(settings)
    yield from state.model(settings)
    yield from state.servers(settings, runs=runs)
    yield from log_stores(settings, runs=runs)
    yield from state.simulation()
    if time_url or settings.mlflow_url:
        yield from state.http_clock(time_url or settings.mlflow_url)
    if not quick:
        yield from state.product(settings)


def is_running(settings: Settings) -> bool:
    """Whether a `make run` is at work on this state."""
    lock = settings.home / "run" / "lock"
    if not lock.exists() or not os.access(lock, os.R_OK | os.W_OK):
        return False
    try:
        with exclusive(lock, ""):
            return False
    except BusyError:
        return True


def _show(finding: Finding) -> None:
    """A line, and below it what mends it; without a bar, as the front draws that."""
    report(f"{finding.state:<5} {mask(f'{finding.check:<{WIDTH}} {finding.text}')}", COLOURS[finding.state])
    if finding.mend:
        report(f"      {'':<{WIDTH}} -> {finding.mend}")


def _summary(result: DoctorResult) -> str:
    counts = {name: sum(one.state == name for one in result.findings) for name in ("ok", "warn", "fail")}
    return f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} broken"


def run() -> int:
    """Find what is wrong with this machine, this state and this cluster, and how to mend it."""
    return run_command("doctor", main)
