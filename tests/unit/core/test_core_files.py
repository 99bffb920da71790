"""A file or a folder is written whole or not at all, and leaves nothing beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from beacon_core.platform.files import draft_folder_of, draft_of, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def half_of(file):
    file.write_bytes(b"half")
    raise ZeroDivisionError


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_takes_the_place_of_the_old_one(tmp_path, durable):
    file = tmp_path / "deep" / "one"
    write_atomically(file, b"old", durable=durable)
    write_atomically(file, b"new", durable=durable)
    assert file.read_bytes() == b"new"
    assert names(file.parent) == ["one"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    file = tmp_path / "one"
    write_atomically(file, b"old")
    with draft_of(file) as draft:
        draft.write_bytes(b"half")
        assert file.read_bytes() == b"old"
        draft.write_bytes(b"whole")
    assert file.read_bytes() == b"whole"


def test_a_write_that_fails_changes_nothing(tmp_path):
    file = tmp_path / "one"
    write_atomically(file, b"old")
    with pytest.raises(ZeroDivisionError), draft_of(file) as draft:
        half_of(draft)
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["one"]


def test_what_is_durable_is_on_the_disk_before_and_after_it_takes_its_place(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(str(Path(f"/proc/self/fd/{number}").readlink())))
    write_atomically(tmp_path / "one", b"content")
    assert [path.endswith(".draft") for path in synced] == [True, False]
    assert synced[1] == str(tmp_path)
    write_atomically(tmp_path / "two", b"content", durable=False)
    assert len(synced) == 2


def test_two_processes_do_not_share_a_draft_and_a_dead_one_s_goes(tmp_path):
    file = tmp_path / "one"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        lives = tmp_path / f".one.{other.pid}.draft"
        lives.write_bytes(b"half")
        write_atomically(file, b"content")
        assert names(tmp_path) == [lives.name, "one"]
    write_atomically(file, b"content")
    assert names(tmp_path) == ["one"]


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path):
    folder = tmp_path / "deep" / "one"
    for content in (b"old", b"new"):
        with draft_folder_of(folder) as draft:
            (draft / content.decode()).write_bytes(content)
    assert names(folder) == ["new"]
    with pytest.raises(ZeroDivisionError), draft_folder_of(folder) as draft:
        half_of(draft / "half")
    assert names(folder) == ["new"]
    assert names(folder.parent) == ["one"]
