"""The verdict's table holds every figure beside its limit; its plot is equal for equal verdicts, champion or none."""

from pathlib import Path

import msgspec

from beacon_core.domain.verdict import ComparedModel, GateCheck, SegmentComparison, Verdict
from beacon_retraining.evaluation.verdict_report import plot, table

VERDICT = Verdict(
    product="homes",
    outcome="fail",
    reason="over the limit: MAE, new / old",
    checks=(
        GateCheck("mae", "MAE, new / old", "fail", 1.234, "below", 1.0, 1.1, 1.3, 2.468, 2.0, "noted"),
        GateCheck("latency", "seconds for one row", "pass", 0.001, "at most", 0.02),
    ),
    slices=(SegmentComparison("river=1", 30, 3.0, 2.0, 1.5, 1.2, 1.9),),
    method="backtest",
    how="on 300 rows",
    rows=300,
    confidence=0.95,
    data_fingerprint="d" * 64,
    challenger=ComparedModel("2", "a" * 64, "ridge", "d" * 64, "2026-01-02T00:00:00+00:00"),
    champion=ComparedModel("1", "b" * 64, "blend", "c" * 64, "2026-01-01T00:00:00+00:00"),
    revision="abc",
    moment="2026-01-02T00:00:01+00:00",
)


def test_the_table_holds_every_figure_beside_its_limit() -> None:
    text = table(VERDICT)
    assert text.startswith("# Verdict on homes version 2: fail\n")
    assert "| MAE, new / old | fail | 1.234 | below 1 | 1.1 to 1.3 | 2.468 | 2 | noted |" in text
    assert "| seconds for one row | pass | 0.001 | at most 0.02 |  |  |  |  |" in text
    assert "| river=1 | 30 | 3 | 2 | 1.500 | 1.200 to 1.900 |" in text
    assert {row.count("|") for row in text.splitlines() if row.startswith("| MAE,")} == {9}


def test_the_plot_names_what_it_shows_and_repeats(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        plot(VERDICT, tmp_path / name)
    content = (tmp_path / "one.svg").read_bytes()
    assert content == (tmp_path / "two.svg").read_bytes()
    assert b"<!-- MAE, river=1 (30 rows) -->" in content


def test_without_a_comparison_the_plot_shows_each_figure_against_its_limit(tmp_path: Path) -> None:
    direction = GateCheck("direction_RM", "mean change", "pass", 0.3, "at least", 0.0)
    first = msgspec.structs.replace(VERDICT, champion=None, checks=(*VERDICT.checks[1:], direction), slices=())
    plot(first, tmp_path / "first.svg")
    drawn = (tmp_path / "first.svg").read_text()
    assert "<!-- seconds for one row: 0.001 ≤ 0.02 -->" in drawn
    assert "<!-- figure / limit -->" in drawn
    assert "mean change" not in drawn
