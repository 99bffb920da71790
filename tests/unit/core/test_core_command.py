"""The commands of an environment: they are those of the installed packages."""

import re
from importlib.metadata import entry_points

import pytest
from support.log_setup import kept_log_setup

from beacon_core.commands.beacon import GROUP, main, summary

USED_BY_MAKE = {
    "run", "demo", "retrain", "data", "dvc", "drift", "lineage", "approve", "reject", "promote", "rollback", "served",
    "history", "cadence",
}  # fmt: skip


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["beacon", *arguments])
    return main()


def test_it_has_every_command_of_make_once_and_each_is_a_program() -> None:
    names = [entry.name for entry in entry_points(group=GROUP)]
    assert len(names) == len(set(names))
    assert set(names) >= USED_BY_MAKE
    assert all(callable(entry.load()) for entry in entry_points(group=GROUP))


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_it_lists_its_commands_with_a_summary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert called(monkeypatch, *arguments) == 0
    listed = capsys.readouterr().out
    assert re.search("\n  promote +Promote what may go into service", listed)
    assert "beacon_" not in listed


def test_each_command_has_a_summary_of_one_line() -> None:
    summaries = {entry.name: summary(entry) for entry in entry_points(group=GROUP)}
    assert all(10 < len(text) < 90 for text in summaries.values()), summaries
    assert len(set(summaries.values())) == len(summaries)


def test_an_unknown_command_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(monkeypatch, "promotee") == 2
    assert capsys.readouterr().err.startswith("beacon: 'promotee' is not a command\n")


@pytest.mark.parametrize(
    ("command", "given"),
    [
        *(("rollback", "--reason"), ("approve", "version"), ("reject", "version"), ("history", "--most")),
        *(("served", "--at"), ("values", "--version"), ("promote", "--wait"), ("doctor", "--cluster")),
    ],
)
def test_a_command_takes_its_own_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, given: str
) -> None:
    with kept_log_setup(), pytest.raises(SystemExit) as ended:
        called(monkeypatch, command, "--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: beacon {command} [-h]")
    assert given in shown
    assert "{approve,reject}" not in shown
