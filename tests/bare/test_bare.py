"""The two commands of the README on a machine that has Python, make and git, and nothing else, in a container.

Its two people share what was fetched, as two checkouts on one machine do.
"""

import re
from collections.abc import Iterator

import pytest
from bare.machine import Machine, machine
from system.e2e_laptop.beacon_run import ports_of_a_run

USER, HOME = "someone", "/home/someone"
MISSING = ("cc", "gcc", "c++", "clang", "curl", "uv", "redis-server", "initdb", "java", "node", "go")
HALF_AN_HOUR = 1800
# For root PostgreSQL runs as another user, and no file is out of reach.
OF_ROOT = "environments or ledger or features_redis or laptop or settings"
pytestmark = pytest.mark.timeout(2 * HALF_AN_HOUR)


@pytest.fixture(scope="module")
def bare() -> Iterator[Machine]:
    with machine() as made:
        made.clone(USER, f"{HOME}/beacon")
        made.clone("root", "/root/beacon")
        yield made


def passed(output: str) -> dict[str, int]:
    """What pytest's closing line counts, such as {"passed": 2046}."""
    closing = output.rstrip().splitlines()[-1]
    print(closing)
    assert re.fullmatch(r"=+ .* in [0-9.]+s.*=+", closing), output[-5000:]
    return {what: int(number) for number, what in re.findall(r"(\d+) ([a-z]+)", closing.partition(" in ")[0])}


def assert_answered(output: str) -> None:
    """The pasted line was answered as `beacon predict` answers, as the machine has no curl."""
    assert re.search(r"^answered: [0-9.]+ 1000 USD +\([0-9.]+ to [0-9.]+, 90%\)  version 1, \w+", output, re.MULTILINE)


def test_the_machine_is_bare(bare: Machine) -> None:
    found = bare.run("root", f"for name in {' '.join(MISSING)}; do command -v $name; done; true", 60)
    assert found == ""


def test_make_run_answers_a_prediction_and_stops(bare: Machine) -> None:
    output = bare.run(USER, "cd beacon && python3 tests/bare/run_once.py", HALF_AN_HOUR, **ports_of_a_run())
    print(output[-2000:])
    assert_answered(output)


def test_make_test_passes_whole(bare: Machine) -> None:
    counts = passed(bare.run(USER, "cd beacon && make test", HALF_AN_HOUR))
    assert counts["passed"] > 1000
    assert set(counts) <= {"passed", "skipped"}


def test_make_run_answers_root(bare: Machine) -> None:
    given = {"UV_CACHE_DIR": f"{HOME}/.cache/uv"} | ports_of_a_run()
    output = bare.run("root", "cd beacon && python3 tests/bare/run_once.py", HALF_AN_HOUR, **given)
    print(output[-2000:])
    assert_answered(output)


def test_what_is_different_for_root_passes(bare: Machine) -> None:
    counts = passed(bare.run("root", f"""cd beacon && make test ARGS='-k "{OF_ROOT}"'""", HALF_AN_HOUR))
    assert counts["passed"] > 100
    assert set(counts) <= {"passed", "skipped", "deselected"}
