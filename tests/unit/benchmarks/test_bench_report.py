"""The bench's page says of both models what was measured, and nothing that was not."""

from pathlib import Path

import msgspec
import pytest
from harness.access import AccessCost
from harness.http_servers import Figures, table
from harness.limits import limits
from harness.measure import Measured
from harness.model import PLAIN
from harness.report import write_report
from harness.results import Results, read_results, write_results
from support.bench_run import TITLES, loaded, servers_at_their_limits

FAMILIES = {
    "ridge": {"beacon": loaded(1000.0), "floor": loaded(2000.0), "fastapi": loaded(125.0), "mlserver": loaded(100.0)},
    "xgboost": {"beacon": loaded(700.0), "floor": loaded(2000.0), "mlserver": loaded(100.0)},
}
ACCESS = (AccessCost("API key, of 10,000", 2.2, None, 5.0), AccessCost("JWT by RS256, known", 5.5, 90.1, 60.0))


def results_of(servers: dict[str, Measured]) -> Results:
    judged = limits(TITLES, servers, None, FAMILIES, ACCESS)
    return Results({"date": "today"}, TITLES, servers, None, FAMILIES, ACCESS, judged)


def page(folder: Path, results: Results) -> str:
    write_report(folder / "page.md", results, "picture.svg")
    return (folder / "page.md").read_text()


def section(text: str, title: str) -> list[list[str]]:
    """The cells of the rows below a title, up to the next of its rank; heads and rules of tables left out."""
    lines = text[text.index(f"## {title}") :].partition("\n")[2].partition("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in rows if row[0] not in {"", "---", "model"}]


def test_every_section_has_every_server_with_both_models(tmp_path: Path) -> None:
    text = page(tmp_path, results_of(servers_at_their_limits()))
    for title in ("One row per request", "Rows/s of batches", "p99 of single rows beside batches"):
        names = [row[0] for row in section(text, title)]
        assert names == ["beacon", "floor", "fastapi", "kserve", "mlserver"] * 2, title
    for title in TITLES.values():
        assert text.count(f"### With {title}\n") == 3
    assert ["beacon", "100.0", "10.0", "100.0", "10.0"] in section(text, "CPU seconds per million predictions")


def test_what_it_costs_to_know_a_client_is_told(tmp_path: Path) -> None:
    text = page(tmp_path, results_of(servers_at_their_limits()))
    assert section(text, "Knowing a client") == [
        ["API key, of 10,000", "2.2", "", "5"],
        ["JWT by RS256, known", "5.5", "90.1", "60"],
    ]


def test_ratios_are_beacons_to_each_row(tmp_path: Path) -> None:
    text = page(tmp_path, results_of(servers_at_their_limits()))
    with_product, with_plain = (row for row in section(text, "One row per request") if row[0] == "fastapi")
    assert (with_product[2], with_product[4]) == ("100", "14.0 x")
    assert (with_plain[2], with_plain[4]) == ("125", "8.0 x")
    batches = [row for row in section(text, "Rows/s of batches") if row[0] in {"fastapi", "kserve"}]
    assert batches[0] == ["fastapi", "10 (1.0 x)", "1,000 (1.5 x)", "1,000 (1.2 x)", "-", "-"]
    assert batches[1][-1] == "1,000 (2.5 x)"


def test_a_broken_promise_is_told_with_its_model(tmp_path: Path) -> None:
    servers = servers_at_their_limits()
    servers["fastapi"].models[PLAIN].closed["1x8"] = loaded(200.0, 40.0)
    rows = section(page(tmp_path, results_of(servers)), "Promises")
    assert [(row[0], row[2], row[3]) for row in rows if row[-1] == "**no**"] == [
        ("plain boosting", "at least 8 x fastapi (aim: 12 x)", "5.0 x"),
        ("xgboost", "at least 10 x mlserver", "7.0 x"),
    ]


def test_each_family_is_told_beside_the_servers_that_could_load_it(tmp_path: Path) -> None:
    text = page(tmp_path, results_of(servers_at_their_limits()))
    assert section(text, "Each family") == [
        ["ridge", "1,000 (1.0 x)", "2,000 (0.5 x)", "125 (8.0 x)", "100 (10.0 x)", "10.00"],
        ["xgboost", "700 (1.0 x)", "2,000 (0.3 x)", "-", "100 (7.0 x)", "10.00"],
    ]
    assert [row[0] for row in section(text, "Promises") if row[-1] == "**no**"] == ["xgboost"]


def test_a_run_without_beacon_has_a_page_without_ratios(tmp_path: Path) -> None:
    fastapi = servers_at_their_limits()["fastapi"]
    text = page(tmp_path, results_of({"fastapi": fastapi}))
    assert section(text, "Rows/s of batches")[0] == ["fastapi", "10", "1,000", "1,000", "-", "-"]


def test_a_run_reads_back_as_it_was_written(tmp_path: Path) -> None:
    results = results_of(servers_at_their_limits())
    rounded = msgspec.structs.replace(results, servers={"fastapi": results.servers["fastapi"]})
    write_results(tmp_path / "results.json", rounded)
    assert read_results(tmp_path / "results.json") == rounded


def test_the_table_of_http_servers_has_a_column_a_server() -> None:
    figures = [Figures("A", {"x": 1.0, "p99 ms": 0.456}), Figures("B", {"x": 12345.6, "y": float("nan")}, ("TLS",))]
    assert table(figures).splitlines() == [
        "|  | A | B |",
        "| --- | --- | --- |",
        "| x | 1 | 12,346 |",
        "| p99 ms | 0.46 | - |",
        "| y | - | fell behind |",
        "",
        "- B answered wrongly: TLS",
    ]


@pytest.mark.parametrize("text", ["ONNX Runtime evaluates", "out of reach"])
def test_prose_about_batches_is_not_that_of_another_run(tmp_path: Path, text: str) -> None:
    servers = servers_at_their_limits()
    servers["beacon"].models[PLAIN].closed["1000x1"] = loaded(0.1)
    assert text not in page(tmp_path, results_of(servers))
