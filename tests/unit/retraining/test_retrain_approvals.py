"""A person's word: written once, by name and reason, about the package that the newest verdict judged."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from beacon_core.product import Product
from beacon_core.store import approvals, migrate, open_store
from beacon_retrain.approvals import APPROVED, REJECTED, DecisionError, decide, newest
from beacon_retrain.verdict import Check, Contestant, Outcome, Verdict, record


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
        checks=(Check("mae", "MAE", outcome, 0.9, "below", 1.0),),
        slices=(),
        method="backtest",
        how="on rows",
        rows=300,
        confidence=0.95,
        data_fingerprint="d" * 64,
        challenger=Contestant(version, sha256, "blend", "d" * 64, "2026-01-01T00:00:00+00:00"),
        champion=None,
        revision="abc",
        moment=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    record(engine, verdict)


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
    ("version", "person", "reason", "said"),
    [
        ("", "ada", "good", "version: is missing"),
        ("9", "ada", "good", "version 9: has no verdict"),
        ("2", " ", "good", "person: must have 1 to 64"),
        ("2", "a" * 65, "good", "person: must have 1 to 64"),
        ("2", "ada", " ", "reason: is missing"),
        ("3", "ada", "good", r"version 3: its verdict is inconclusive \(because\)"),
    ],
)
def test_what_cannot_be_approved_is_said_and_not_written(
    version: str, person: str, reason: str, said: str, engine: Engine, product: Product
) -> None:
    judged(engine, product, "2", "pass")
    judged(engine, product, "3", "inconclusive")
    with pytest.raises(DecisionError, match=said):
        decide(engine, product, version, APPROVED, person, reason)
    assert written(engine) == []


def test_any_verdict_may_be_rejected(engine: Engine, product: Product) -> None:
    judged(engine, product, "3", "fail")
    assert decide(engine, product, "3", REJECTED, "ada", "as the gate says")
