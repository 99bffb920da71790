"""Ready means ready: on a machine that has no CPU to spare, the first requests after the word are all answered.

The tests go through the life of one state folder in the order of this file.
"""

import json

import pytest
from support.burning import burning
from support.by_entity import failures, questions
from system.e2e_laptop.beacon_run import READY, Run, ports_of_a_run

from beacon_core.platform.product_file import load_product

BURNERS = 8
REQUESTS = 500
START_SECONDS = 2000

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("state") / "a home"


@pytest.fixture
def run(home):
    """`make run`, ready a moment ago, beside processes that burn both cores since the first model was trained."""
    started = Run(home, ports_of_a_run())
    try:
        started.wait_for("starting feature-serving, inference")
        with burning(BURNERS):
            started.wait_for(READY, START_SECONDS)
            yield started
    finally:
        started.clear()


def assert_answered(run, clients):
    product = load_product(run.settings.product)
    asked = questions(product, range(1, product.data.rows.min + 1), REQUESTS)
    failed = failures(run.settings.inference_port, asked, clients)
    assert not failed, f"{len(failed)} of {REQUESTS} failed, such as\n" + "\n".join(failed[:5])


def test_the_first_requests_after_a_first_run_are_answered_and_the_terminal_is_for_people(run):
    assert_answered(run, clients=16)

    told = [line for line in run.text().splitlines() if not line.startswith("curl ")]
    assert not [line for line in told if '{"' in line], run.text()
    for stage in ("fetch", "validate", "features", "train", "package", "evaluate", "register"):
        assert [line for line in told if line.startswith(f"  {stage} ")], f"{stage} is told\n{run.text()}"
    log = (run.home / "logs" / "retrain.log").read_text()
    assert {json.loads(line)["service"] for line in log.splitlines() if line.startswith("{")} == {"retrain"}


@pytest.mark.parametrize("clients", [1, 250])
def test_so_they_are_after_the_next_start(run, clients):
    assert "training the first one" not in run.text()
    assert_answered(run, clients)
