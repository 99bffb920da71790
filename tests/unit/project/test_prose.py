"""The words that the glossary says to avoid are found, in prose and nowhere else; so are two sentences in one line."""

import shutil
from pathlib import Path

import pytest

from beacon_core.platform.settings import ROOT
from tools.prose import GLOSSARY, complaints, main, pages, texts, unbroken, vocabulary

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


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("It serves. It logs.", 1),
        ("# Title\n\nIt serves.\nIt logs (to disk). `make` runs it.", 4),
        ('Is it "up?" [The console](x.md) says so.', 1),
        ("It keeps 3 files. 2 are old.", 1),
        ("It serves, and\nit logs.", 1),
        ("**It serves.** It logs. It answers.", 1),
        ("| a | b |\n\nIt serves. It logs.", 3),
    ],
)
def test_two_sentences_in_a_line_and_a_broken_one_are_found(text: str, line: int) -> None:
    ((found, _),) = unbroken(text)
    assert found == line


@pytest.mark.parametrize(
    "text",
    [
        "It serves.\nIt logs.",
        "It runs on Python 3.11 and Feast 0.66, e.g. Debian's, i.e. not GNU's, and reads product.yaml.",
        "**The clock.** One clock dates everything.",
        "It needs these:\n- a disk. A large one.\n  And a\n  network\n",
        "1. First. Then the second.",
        "| It serves. It logs. |",
        "    make run. Then wait.",
        "```\nIt serves. It logs.\n```",
        "<!-- It serves. It logs.\nIt answers. -->",
        "It reads `a. B` as code.",
        "# It serves. It logs.",
    ],
)
def test_one_sentence_per_line_lists_tables_and_code_are_left_alone(text: str) -> None:
    assert list(unbroken(text)) == []


def test_the_pages_of_this_checkout_have_one_sentence_per_line() -> None:
    read = dict(pages(ROOT))
    assert {Path("README.md"), Path("SECURITY.md"), Path("docs/explanation/drift.md"), GLOSSARY} <= read.keys()
    assert Path("docs/runbooks/Watchdog.md") in read
    assert [(path, line) for path, text in read.items() for line, _ in unbroken(text)] == []
