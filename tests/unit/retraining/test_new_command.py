"""The command `beacon new`: what it writes, what it says and what it leaves alone."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.settings import Settings
from unit.retraining.new_tables import SIZES, VALUES

from beacon_core.platform.product_file import load_product
from beacon_retraining.commands import new as new_command
from beacon_retraining.data.findings import find_all
from beacon_retraining.proposal import write


def test_what_the_file_does_not_tell_is_said(tmp_path: Path, command: Callable[..., int]) -> None:
    """A table without a header, whose dates are in a form of its own."""
    rows = [
        f"{n % 28 + 1:02d}/03/19,K{n},{size},{value}" for n, (size, value) in enumerate(zip(SIZES, VALUES, strict=True))
    ]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    form = "{header: false, names: [sold on, lot no., size, value], dates: {sold on: '%d/%m/%y'}}"
    assert command("--format", form, "--key", "sold", "on", "lot", "no.", "--time", "sold on") == 0
    product = load_product(tmp_path / "products" / "goods" / "product.yaml")
    assert (product.keys, product.time.event) == (("sold on", "lot no."), "sold on")
    assert [(feature.name, feature.type) for feature in product.features] == [("sold on", "date"), ("size", "float")]
    assert find_all(product).errors == []


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        ("[1, 2]", "must be a mapping"),
        ("{header: [", "is not YAML"),
        ("{headers: false}", "source.format: has the unknown key `headers`"),
        ("{header: false, names: [a]}", "names 1 columns, the first line has 2"),
    ],
)
def test_a_form_that_is_none(form: str, rule: str, command: Callable[..., int]) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        command("--format", form)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`beacon new goods` on a table in `tmp_path`."""
    rows = "\n".join(f"{size},{value}" for size, value in zip(SIZES, VALUES, strict=True))
    (tmp_path / "table.csv").write_text(f"size,value\n{rows}\n")
    monkeypatch.chdir(tmp_path)

    def run(*options: str, name: str = "goods") -> int:
        given = ["new", name, "--data", "table.csv", "--target", "value", *options]
        monkeypatch.setattr(sys, "argv", given)
        return new_command.main(Settings())

    return run


def test_the_command_writes_copies_and_says_what_is_next(
    tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    said = capsys.readouterr().out
    assert "make check PRODUCT=products/goods" in said
    assert {file.name for file in (tmp_path / "products" / "goods").iterdir()} == {
        "product.yaml",
        "policy.yaml",
        "table.csv",
    }


def test_nothing_is_written_over_without_force(tmp_path: Path, command: Callable[..., int]) -> None:
    command()
    file = tmp_path / "products" / "goods" / "product.yaml"
    file.write_text("mine")
    with pytest.raises(ValueError, match="exists; --force writes over it"):
        command()
    assert file.read_text() == "mine"
    assert command("--force") == 0
    assert file.read_text() != "mine"


def test_a_large_file_is_named_and_not_copied(
    tmp_path: Path, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MOST_COPIED", 10)
    assert command() == 0
    product = load_product(tmp_path / "products" / "goods" / "product.yaml")
    assert product.sources[0].path.resolve() == tmp_path / "table.csv"
    assert not (product.file.parent / "table.csv").exists()


def test_a_name_that_no_product_may_have_is_refused(command: Callable[..., int]) -> None:
    with pytest.raises(ValueError, match="NAME must be lower-case letters"):
        command(name="My Goods")
