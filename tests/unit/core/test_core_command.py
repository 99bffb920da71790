"""The command `beacon`: its words are those of the installed packages."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from beacon_core.commands.beacon import WORDS, main

USED_BY_MAKE = {
    "run", "demo", "retrain", "data", "dvc", "drift", "lineage", "approve", "reject", "promote", "rollback", "served",
    "history", "cadence",
}  # fmt: skip


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["beacon", *arguments])
    return main()


def test_it_has_every_word_of_make_once_and_each_is_a_program() -> None:
    names = [entry.name for entry in entry_points(group=WORDS)]
    assert len(names) == len(set(names))
    assert set(names) >= USED_BY_MAKE
    assert all(callable(entry.load()) for entry in entry_points(group=WORDS))


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_it_lists_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert called(monkeypatch, *arguments) == 0
    assert "\n  promote " in capsys.readouterr().out


def test_an_unknown_word_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(monkeypatch, "promotee") == 2
    assert capsys.readouterr().err.startswith("beacon: 'promotee' is no word of it\n")


@pytest.mark.parametrize(("word", "given"), [("rollback", "--reason"), ("approve", "version"), ("history", "--most")])
def test_a_word_takes_its_own_arguments(word: str, given: str) -> None:
    beacon = Path(sys.executable).with_name("beacon")
    done = subprocess.run([beacon, word, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: beacon {word}")
    assert given in done.stdout
