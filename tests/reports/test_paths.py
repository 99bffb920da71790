"""Any path that a file system takes may be the checkout's or BEACON_HOME's; what cannot be is told in one line."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import URL, create_engine, make_url
from support.checkout import copy_checkout
from support.features import fill
from support.nasty import NAMES, TOGETHER
from support.ports import free_port
from support.waiting import until

from beacon_core.data.database import migrate, open_store
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.platform.file_urls import file_uri, sqlite_file, sqlite_url
from beacon_core.platform.settings import ROOT, load_settings
from beacon_feature_serving.stores.sqlite import SqliteReader
from beacon_laptop.health import is_ready
from beacon_laptop.processes import Process
from beacon_laptop.supervision import Supervisor, log_file, socket_folder

every_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
names_together = pytest.mark.parametrize("name", TOGETHER, ids=["url", "shell", "rest"])


def names_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


@every_name
def test_a_path_and_its_url_are_one_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "a.db"
    file.parent.mkdir()
    url = sqlite_url(file)
    assert url == URL.create("sqlite", database=str(file)).render_as_string()
    assert sqlite_file(url) == file
    assert make_url(url).query == {}
    with create_engine(url).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE here (id INTEGER)")
    with sqlite3.connect(f"{file_uri(file)}?mode=ro", uri=True) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("here",)]
    connection.close()
    assert names_in(tmp_path) == [name], "nothing lies outside"


@every_name
def test_the_store_lies_in_the_home(tmp_path: Path, name: str) -> None:
    settings = load_settings({"BEACON_HOME": str(tmp_path / name / "home")})
    engine = open_store(settings.database)
    migrate(engine)
    engine.dispose()
    assert (tmp_path / name / "home" / "beacon.db").stat().st_size > 0
    assert names_in(tmp_path) == [name]


@names_together
def test_the_feature_store_lies_in_the_home(tmp_path: Path, product: Product, name: str) -> None:
    settings = load_settings({"BEACON_HOME": str(tmp_path / name / "home")})
    fill(settings, product)
    moments = pa.table({product.entity.key: [1, 2], "event_timestamp": [datetime.now(UTC)] * 2})
    assert len(repo.known_at(settings, product, moments)) == 2
    reader = SqliteReader(repo.open_store(settings).config, 60)
    asyncio.run(reader.check())
    asyncio.run(reader.close())
    found = {str(file.relative_to(settings.home)) for file in settings.home.rglob("*.db")}
    assert found == {"feast/registry.db", "feast/online.db"}
    assert names_in(tmp_path) == [name]


@names_together
def test_the_supervisor_starts_what_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever the home is called, the folder for temporary files, and the arguments of a process."""
    home, port = tmp_path / name / "home", free_port()
    (home / "run").mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(home))
    arguments = ("-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path), str(port))
    process = Process("web", "laptop", arguments, f"http://127.0.0.1:{port}/")
    with socket_folder() as folder:
        supervisor = Supervisor((process,), dict(os.environ), home, Path(folder) / "supervisor.sock")
        try:
            until((Path(folder) / "supervisor.sock").exists, "the supervisor listens")
            supervisor.start("web")
            until(lambda: is_ready(process.health), "the process answers")
        finally:
            supervisor.stop()
    assert "GET / HTTP" in log_file(home / "logs", "web").read_text()
    assert names_in(tmp_path) == [name]


def make(folder: Path, *arguments: str, **given: str) -> "subprocess.CompletedProcess[str]":
    """Make there, as at a terminal of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=kept | given, capture_output=True, text=True, check=False, timeout=250
    )


@names_together
def test_make_knows_its_way_in_a_checkout_of_that_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name.replace(":", "")
    folder.mkdir()
    shutil.copy2(ROOT / "Makefile", folder)
    shown = make(folder, "--eval", 'show: ; @printf %s "$$PATH"', "show")
    assert Path(shown.stdout.split(os.pathsep)[-1]) == folder / ".tools" / "bin", shown.stderr
    assert "make run" in " ".join(make(folder).stdout.split())


@pytest.mark.parametrize("name", ["a:b", "a\nb"], ids=ascii)
def test_a_path_that_no_list_of_paths_can_hold_is_refused_by_make(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy2(ROOT / "Makefile", folder)
    for arguments in ((), ("run",), ("test",)):
        done = make(folder, *arguments)
        assert done.returncode == 2
        assert "the checkout's path holds a ':' or a line break" in done.stderr
        assert done.stdout == ""


def test_a_checkout_of_such_a_name_does_its_jobs(tmp_path: Path, product: Product) -> None:
    folder = copy_checkout(tmp_path / "b é%20 ?#'x" / 'c%(a)s "$D" [e] {f};&\\')
    file = folder / product.file.relative_to(ROOT)
    for arguments in (("drift",), ("history",), ("data", "ARGS=check")):
        done = make(folder, *arguments, BEACON_PRODUCT=str(file))
        assert done.returncode == 0, done.stderr
    assert str(file.parent / product.sources[0].sample) in done.stdout
    assert (folder / ".beacon" / "beacon.db").is_file()
    assert names_in(tmp_path) == ["b é%20 ?#'x"]
