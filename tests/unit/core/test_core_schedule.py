"""A cron schedule is taken only if Kubernetes and GitHub both run it, at some time."""

from pathlib import Path

import pytest
from support.products import POLICY, SPEC

from beacon_core.domain.schedule import cron_problem
from beacon_core.domain.spec import ProductError
from beacon_core.platform.product_file import load_product

GOOD = [
    "0 3 * * 0",
    "*/15 * * * *",
    "0 0-6/2 1,15 * *",
    "30 4 1 JAN,Jul *",
    "5 5 * * MON-FRI",
    "0 0 29 2 *",
    "0 0 31 4 1",
    "10/20 * * * *",
    " 0  3 * * 0 ",
]
BAD = {
    "": "five fields",
    "@daily": "five fields",
    "0 3 * *": "five fields",
    "0 3 * * 0 2026": "five fields",
    "every sunday at three o'clock": "minute",
    "60 3 * * 0": "minute",
    "0 24 * * 0": "hour",
    "0 3 0 * 0": "day of month",
    "0 3 32 * 0": "day of month",
    "0 3 L * *": "day of month",
    "0 3 * 13 0": "month",
    "0 3 * * 7": "day of week",
    "0 3 * * 1#2": "day of week",
    "0 3 * * sunday": "day of week",
    "0 5-3 * * 0": "hour",
    "*/0 * * * *": "minute",
    "-5 * * * *": "minute",
    "1,,2 * * * *": "minute",
    "1.5 * * * *": "minute",
    "٣ * * * *": "minute",
    "0 3 30 2 *": "no month has",
    "0 3 31 4,6,9,11 *": "no month has",
}


@pytest.mark.parametrize("text", GOOD)
def test_a_schedule_that_both_run_is_taken(text: str) -> None:
    assert cron_problem(text) is None


@pytest.mark.parametrize("text", BAD)
def test_another_is_refused_by_its_field(text: str) -> None:
    assert BAD[text] in str(cron_problem(text))


def test_the_policy_is_refused_by_file_key_and_rule(tmp_path: Path) -> None:
    file = tmp_path / SPEC.name
    file.write_text(SPEC.read_text())
    policy = POLICY.read_text()
    assert '"0 3 * * 0"' in policy
    file.with_name(POLICY.name).write_text(policy.replace('"0 3 * * 0"', "at three on each sunday"))
    with pytest.raises(ProductError, match=r"policy\.yaml: retraining\.schedule: minute must be .*is 'at'"):
        load_product(file)
