"""The notebooks of docs run as they are, against real servers, and are kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from contract.client.conftest import Running
from nbclient import NotebookClient
from support.products import SAMPLE_FILE

from beacon_core.platform.settings import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
pytestmark = [pytest.mark.xdist_group("client"), pytest.mark.slow]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: str(file.stem))
def test_a_notebook_runs_from_its_first_cell_to_its_last(
    file: Path, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, target = SAMPLE_FILE, running.product.target.name
    if running.product.sources[0].file != SAMPLE_FILE.name:  # a product without a table: rows like its example
        table = tmp_path / "table.csv"
        example = {feature.name: feature.example for feature in running.product.features}
        lines = [",".join([*example, target]), *[",".join(map(str, [*example.values(), 1]))] * 200]
        table.write_text("\n".join(lines), encoding="utf-8")
    for name, value in (
        ("INFERENCE", running.inference),
        ("CONSOLE", running.console),
        ("TABLE", table),
        ("TARGET", target),
    ):
        monkeypatch.setenv(name, str(value))
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
    ]
    assert pictures


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: str(file.stem))
def test_a_notebook_is_kept_without_what_it_printed(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []
