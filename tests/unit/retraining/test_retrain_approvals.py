"""A person's word: written once, by name and reason, about the package that the newest verdict judged."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from beacon_core.data.approvals import APPROVED, REJECTED
from beacon_core.data.approvals import decide as decide_in
from beacon_core.data.approvals import newest as newest_in
from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import approvals
from beacon_core.data.verdicts import record
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.domain.verdict import ComparedModel, GateCheck, Outcome, Verdict
from beacon_core.platform.settings import ROOT


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    migrate(opened)
    return opened


def judged(engine: Engine, product: Product, version: str, outcome: Outcome, sha256: str = "a" * 64) -> None:
    verdict = Verdict(
        product=product.name,
        outcome=outcome,
        reason="because",
        checks=(GateCheck("mae", "MAE", outcome, 0.9, "below", 1.0),),
        slices=(),
        method="backtest",
        how="on rows",
        rows=300,
        confidence=0.95,
        data_fingerprint="d" * 64,
        challenger=ComparedModel(version, sha256, "blend", "d" * 64, "2026-01-01T00:00:00+00:00"),
        champion=None,
        revision="abc",
        moment=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    record(engine, verdict)


def decide(
    engine: Engine, product: Product, version: str, decision: str, person: str, reason: str, people: int = 1
) -> bool:
    with engine.begin() as connection:
        return decide_in(connection, product.name, version, decision, person, reason, people=people)


def newest(engine: Engine, sha256: str) -> str | None:
    with engine.connect() as connection:
        found = newest_in(connection, sha256)
    return None if found is None else found.decision


def written(engine: Engine) -> list[tuple[str, str, str, str]]:
    columns = approvals.c.version, approvals.c.sha256, approvals.c.decision, approvals.c.person
    with engine.connect() as connection:
        return [(*row,) for row in connection.execute(select(*columns).order_by(approvals.c.id))]


def test_a_decision_is_written_once_and_may_be_changed(engine: Engine, product: Product) -> None:
    judged(engine, product, "2", "pass")
    assert decide(engine, product, "2", APPROVED, "ada", "looked at the report")
    assert not decide(engine, product, "2", APPROVED, "ada", "once more")
    assert decide(engine, product, "2", REJECTED, "bob", "second thoughts")
    assert written(engine) == [("2", "a" * 64, "approved", "ada"), ("2", "a" * 64, "rejected", "bob")]
    assert newest(engine, "a" * 64) == REJECTED


def test_another_package_of_the_same_number_was_not_decided(engine: Engine, product: Product) -> None:
    judged(engine, product, "2", "pass")
    decide(engine, product, "2", APPROVED, "ada", "good")
    judged(engine, product, "2", "pass", "b" * 64)
    assert newest(engine, "b" * 64) is None
    assert decide(engine, product, "2", APPROVED, "ada", "good, too")
    assert [row[1][0] for row in written(engine)] == ["a", "b"]


@pytest.mark.parametrize(
    ("version", "person", "reason", "code", "said"),
    [
        ("", "ada", "good", "not_found", "Model  has no verdict"),
        ("9", "ada", "good", "not_found", "Model 9 has no verdict"),
        ("2", " ", "good", "invalid_body", "person must be 1 to 64"),
        ("2", "a" * 65, "good", "invalid_body", "person must be 1 to 64"),
        ("2", "ada", " ", "invalid_body", "reason must be 1 to 500"),
        ("3", "ada", "good", "verdict_not_passed", "Model 3 has the verdict inconclusive; only pass"),
    ],
)
def test_what_cannot_be_approved_is_said_and_not_written(
    version: str, person: str, reason: str, code: str, said: str, engine: Engine, product: Product
) -> None:
    judged(engine, product, "2", "pass")
    judged(engine, product, "3", "inconclusive")
    with pytest.raises(BeaconError, match=said) as refused:
        decide(engine, product, version, APPROVED, person, reason)
    assert (refused.value.code, refused.value.status) == (code, BeaconError(code, "").status)
    assert written(engine) == []


def test_two_people_approve_and_one_rejects(engine: Engine, product: Product) -> None:
    judged(engine, product, "2", "pass")
    assert decide(engine, product, "2", APPROVED, "ada", "good", 2)
    for again in ("ada", " Ada "):
        with pytest.raises(BeaconError, match="asks for 2 different people") as refused:
            decide(engine, product, "2", APPROVED, again, "good", 2)
        assert (refused.value.code, refused.value.status) == ("second_person_needed", 409)
    assert decide(engine, product, "2", APPROVED, "bob", "good", 2)
    assert not decide(engine, product, "2", APPROVED, "eve", "good, too", 2), "it is approved already"
    assert decide(engine, product, "2", REJECTED, "ada", "second thoughts", 2)
    assert decide(engine, product, "2", APPROVED, "bob", "good after all", 2), "a rejection ends what was before it"
    assert [row[2:] for row in written(engine)] == [
        ("approved", "ada"),
        ("approved", "bob"),
        ("rejected", "ada"),
        ("approved", "bob"),
    ]


def test_any_verdict_may_be_rejected(engine: Engine, product: Product) -> None:
    judged(engine, product, "3", "fail")
    assert decide(engine, product, "3", REJECTED, "ada", "as the gate says")


def make(command: str, home: Path, reason: str, version: str = "2") -> "subprocess.CompletedProcess[str]":
    """The job as `make approve` and `make reject` call it."""
    called = [sys.executable, str(ROOT / "jobs/approve.py"), command, version, "--reason", reason, "--person", "ada"]
    environment = os.environ | {"BEACON_HOME": str(home)}
    return subprocess.run(called, env=environment, capture_output=True, text=True, check=False)


def test_the_job_approves_once_and_refuses_in_one_line(product: Product, tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    judged(engine, product, "2", "pass")
    bad = make("approve", tmp_path, "")
    assert (bad.returncode, bad.stderr) == (1, "approve: reason must be 1 to 500 characters on one line.\n")
    judged(engine, product, "3", "inconclusive")
    refused = make("approve", tmp_path, "read the report", "3")
    said = (
        "approve: Model 3 has the verdict inconclusive; only pass can be approved, "
        "or a breaking change of the schema where no check failed.\n"
    )
    assert (refused.returncode, refused.stderr) == (1, said)
    assert written(engine) == []
    done = make("approve", tmp_path, "read the report")
    assert (done.returncode, done.stdout) == (0, f"{product.name} version 2 is approved by ada\n"), done.stderr
    done = make("reject", tmp_path, "second thoughts")
    assert done.returncode == 0
    assert [row[2] for row in written(engine)] == [APPROVED, REJECTED]
