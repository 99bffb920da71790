"""The words that the glossary says to avoid are found, in prose and nowhere else."""

import shutil
from pathlib import Path

import pytest

from beacon_core.platform.settings import ROOT
from tools.prose import GLOSSARY, complaints, main, texts, vocabulary

WORDS = vocabulary((ROOT / GLOSSARY).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("A request is told to come back.", 1, "come back"),
        ("One.\n\nIt was taken\nback, by itself.", 3, "taken back"),
        ("- an item\n    that goes on\n- Kept out.", 3, "Kept out"),
        ("    code\n\nThe server turns away load.", 3, "turns away"),
        ("One row a run.", 1, "One row a run"),
        ("An image\na service.", 1, "An image a service"),
        ("| a person's word | a cell |", 1, "a person's word"),
    ],
)
def test_a_word_to_avoid_is_found_with_its_line(text: str, line: int, said: str) -> None:
    ((found, why),) = complaints(text, WORDS)
    assert found == line
    assert f'"{said}": write ' in why


@pytest.mark.parametrize(
    "text",
    [
        "    make it come back",
        "Set `body_sha256` and `shelf.py`.",
        "[the decision](0009-kept-out.md)",
        "```\nturns away\n```",
        "It was taken.\n\nBack to the start.",
        "One row per run. One step of a request. A record is a row.",
        "bookshelf, unowed",
    ],
)
def test_code_and_other_words_are_left_alone(text: str) -> None:
    assert list(complaints(text, WORDS)) == []


def test_the_texts_of_this_checkout_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    read = dict(texts(ROOT))
    assert {Path("README.md"), Path("CHANGELOG.md"), GLOSSARY, Path("services/core/README.md")} <= read.keys()
    assert "come back" not in read[GLOSSARY]
    assert main() == 0, capsys.readouterr().out


def test_released_parts_of_the_change_log_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    shutil.copy(ROOT / GLOSSARY, tmp_path / GLOSSARY)
    (tmp_path / "README.md").touch()
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- now\n\n## 0.1.0\n\n- kept out\n")
    read = dict(texts(tmp_path))
    assert read[Path("CHANGELOG.md")] == "# Changelog\n\n## Unreleased\n\n- now\n\n"
