"""`beacon check`: all that is wrong is listed, with file, column and rule; a changed schema is explained."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from support.packages import build_package
from support.settings import Settings

from beacon_core.domain.data_errors import DataError
from beacon_core.domain.exit_statuses import BAD_DATA, REFUSED
from beacon_core.model_package.release import Release, write_release
from beacon_core.platform.product_file import load_product
from beacon_retraining.commands import check
from beacon_retraining.data.findings import find_all

ROWS = 40
SPEC: dict[str, Any] = {
    "name": "goods",
    "source": {"file": "goods.csv"},
    "entity": {"name": "lot", "key": "lot", "type": "text"},
    "target": {"name": "price", "valid": [0, None]},
    "features": {
        "area": {"type": "float", "valid": [0, 100]},
        "pieces": {"type": "int", "valid": [0, 9]},
        "insured": {"type": "bool"},
        "grade": {"type": "category", "levels": ["fine", "plain"]},
    },
}
Row = dict[str, Any]
Asked = Callable[..., int]


def rows() -> list[Row]:
    return [
        {
            "lot": f"L{number}",
            "area": number * 7 % 41 + 0.5,
            "pieces": number % 4,
            "insured": ["yes", "no"][number % 2],
            "grade": ["fine", "plain"][number // 3 % 2],
            "price": (number * 13) % 37 + 5,
        }
        for number in range(ROWS)
    ]


def write(folder: Path, table: list[Row], spec: dict[str, Any] = SPEC) -> Path:
    lines = [",".join(table[0]), *(",".join(str(cell) for cell in row.values()) for row in table)]
    (folder / "goods.csv").write_text("\n".join(lines) + "\n")
    file = folder / "product.yaml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return file


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Run the command on the product in `tmp_path`."""

    def asked(*options: str) -> int:
        monkeypatch.setattr(sys, "argv", ["check", str(tmp_path), *options])
        return check.main(Settings(home=tmp_path / "home"))

    return asked


def found(file: Path) -> list[tuple[str, str]]:
    return [(error.column, error.rule) for error in find_all(load_product(file)).errors]


def test_a_good_product_has_no_error(tmp_path: Path, ask: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, rows())
    assert ask() == 0
    said = capsys.readouterr().out
    assert "4 (1 float, 1 int, 1 bool, 1 category)" in said
    assert "no errors, 0 warnings" in said
    assert "no model is in service" in said


def test_every_mistake_of_the_data_is_listed(tmp_path: Path, ask: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    table = rows()
    table[3]["insured"] = "maybe"
    table[5]["pieces"] = 2.5
    table[7]["area"] = 1000
    table[8]["grade"] = "Fine"
    table[9]["price"] = -1
    table[11]["lot"] = "L10"
    write(tmp_path, table)
    assert ask() == BAD_DATA
    said = capsys.readouterr().out
    for column, value, row in (
        ("insured", "'maybe'", 4),
        ("pieces", "'2.5'", 6),
        ("area", "1000", 8),
        ("grade", "'Fine'", 9),
        ("price", "-1", 10),
    ):
        [line] = [line for line in said.splitlines() if f"goods.csv: {column}: must be" in line]
        assert value in line
        assert f"row {row}" in line
    [line] = [line for line in said.splitlines() if "goods.csv: lot" in line]
    assert "rows 11 and 12" in line
    assert "6 errors" in said


def test_leaks_and_repeats_are_listed_beside_the_others(tmp_path: Path) -> None:
    table = [row | {"area": row["price"] * 2} for row in rows()]
    spec = SPEC | {"entity": "none", "excluded": {"lot": "an identifier"}}
    file = write(tmp_path, [*table, *table], spec)
    columns = dict(found(file))
    assert "leaks the target" in columns["area"]
    assert "repeat an earlier one" in columns["(rows)"]


def test_warnings_are_no_errors(tmp_path: Path, ask: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    table = [
        row | {"grade": "fine", "area": row["area"] if number % 9 > 3 else ""} for number, row in enumerate(rows())
    ]
    write(tmp_path, table)
    assert ask() == 0
    said = capsys.readouterr().out
    assert "warning   grade: plain is a level without a row" in said
    assert "warning   grade: is 'fine' in every row" in said
    assert "warning   area: is missing in" in said
    assert "no errors, 3 warnings" in said


def test_what_the_spec_says_wrong_needs_no_data(tmp_path: Path, ask: Asked) -> None:
    write(tmp_path, rows(), SPEC | {"features": {"area": {"type": "flaot"}}})
    (tmp_path / "goods.csv").unlink()
    with pytest.raises(ValueError, match=r"features\.area\.type: must be bool or category"):
        ask()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, rows())
    (tmp_path / "goods.csv").unlink()
    [error] = find_all(load_product(file)).errors
    assert isinstance(error, DataError)
    assert "goods.csv" in str(error)


@pytest.mark.parametrize(
    ("feature", "version", "kind", "status"),
    [
        ({"type": "float", "valid": [0, 500]}, 1, "compatible", 0),
        ({"type": "float", "valid": [0, 90]}, 1, "follows", 0),
        ({"type": "float", "valid": [0, 100], "unit": "m2"}, 1, "breaking", REFUSED),
        ({"type": "float", "valid": [0, 100], "unit": "m2"}, 2, "breaking", 0),
    ],
)
def test_a_changed_schema_is_explained(
    tmp_path: Path,
    ask: Asked,
    capsys: pytest.CaptureFixture[str],
    feature: dict[str, Any],
    version: int,
    kind: str,
    status: int,
) -> None:
    settings = Settings(home=tmp_path / "home")
    pin = build_package(settings.models_dir, load_product(write(tmp_path, rows())), "1")
    write_release(settings.release_file, Release(pin))
    spec = SPEC | {"schema_version": version, "features": SPEC["features"] | {"area": feature}}
    write(tmp_path, rows(), spec)
    assert ask("--spec") == status
    said = capsys.readouterr().out
    assert f"{kind:<10} features.area." in said
    assert ("schema_version: must be above 1" in said) == (status == REFUSED)


def test_the_schema_of_the_model_in_service_is_said_to_be_the_same(
    tmp_path: Path, ask: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(home=tmp_path / "home")
    file = write(tmp_path, rows())
    pin = build_package(settings.models_dir, load_product(file), "1")
    write_release(settings.release_file, Release(msgspec.structs.replace(pin)))
    assert ask("--spec") == 0
    assert "as the model in service has it" in capsys.readouterr().out
