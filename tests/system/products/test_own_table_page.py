"""docs/tutorials/your-own-table.md is true: each of its commands is run, in a checkout of its own."""

import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from support.checkout import copy_checkout
from support.docs_commands import Command, commands_in, typed
from support.waiting import until
from system.e2e_laptop.beacon_run import READY, ports_of_a_run
from system.products.tables import goods

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.platform.settings import PREFIX, ROOT

PAGE = ROOT / "docs" / "tutorials" / "your-own-table.md"
SHOWN = re.compile(r"`(make (?:retrain|drift) [^`]*)`")
BUSY = f"Error {TRY_AGAIN}"
"""How make says that the same job is at work: `make run` starts its own a minute after its start."""
pytestmark = pytest.mark.timeout(1800)


def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    commands = [command.text for command in commands_in(text, PAGE.name)]
    assert [command.split()[:2] for command in commands[:3]] == [["make", "new"], ["make", "check"], ["make", "run"]]
    checkout = copy_checkout(tmp_path / "checkout")
    goods().write(checkout)
    assert ",".join(goods().header[1:]) in text
    ports = ports_of_a_run()
    given = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "MAKE"))} | ports

    def run(command: str) -> str:
        def tried() -> subprocess.CompletedProcess[str] | None:
            done = typed(Command(str(PAGE), command, ""), checkout, given, ports)
            return None if BUSY in done.stderr else done

        done = until(tried, f"{command}: the schedule's own job is over", 600)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    new, check, serve, *asks = commands
    assert "products/goods/product.yaml: 500 rows" in run(new)
    assert "no errors" in run(check)
    output = tmp_path / "terminal.out"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            shlex.split(serve), cwd=checkout, env=given, stdout=stream, stderr=stream, start_new_session=True
        )
    try:

        def ready() -> bool:
            said = output.read_text(errors="replace")
            assert process.poll() is None, said
            return READY in said

        until(ready, "make run is ready", 900)
        for ask in asks:
            assert json.loads(run(ask))["prediction"] > 0, ask
        for command in SHOWN.findall(text):
            run(command if "retrain" not in command else f"{command} ARGS='--folds 3 --repeats 1 --budget-seconds 0'")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(120)
