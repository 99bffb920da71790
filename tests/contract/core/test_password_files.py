"""A password in a file that others write anew, as tokens of a cloud's IAM are: read at each new connection."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from support.postgres import Postgres, postgres_with_roles

from beacon_core.data.database import DatabaseUnavailableError, mapped_errors, migrate_at, open_store
from beacon_core.data.roles import MLFLOW, OWNER
from beacon_core.platform.files import write_atomically
from beacon_core.platform.settings import SettingsError

pytestmark = pytest.mark.slow

SERVICE = "beacon_prediction_log"
SECONDS, CHANGES, THREADS = 4.0, 12, 4
COUNT = text("SELECT count(*) FROM predictions")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """With roles that have to say their password."""
    with postgres_with_roles() as cluster, cluster.asking_for_passwords():
        yield cluster


class Tokens:
    """A role whose password changes, and the file that has it."""

    def __init__(self, server: Postgres, role: str, folder: Path) -> None:
        self._server, self._role, self._numbers = server, role, itertools.count(1)
        self.file = folder / "token"
        self.lock = threading.Lock()
        """Held while the server and the file do not agree; tokens of a cloud overlap instead."""
        self.change()

    def change(self) -> None:
        token = f"token-{next(self._numbers)}/with:signs?and=@%"
        with self.lock:
            self._server.query(f"ALTER ROLE {self._role} PASSWORD '{token}'")
            write_atomically(self.file, f"{token}\n".encode())

    def end_connections(self) -> int:
        ended = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{self._role}'"
        return int(self._server.query(ended)[0][0])

    @property
    def url(self) -> str:
        return f"{self._server.url_of(self._role)}?password_file={self.file}&application_name=beacon"


def test_no_statement_fails_while_the_password_changes_under_load(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "of-another-time")  # what the file says wins
    tokens = Tokens(server, SERVICE, tmp_path)
    failed: list[str] = []
    counts = [0] * THREADS
    stopped = threading.Event()

    def ask(number: int) -> None:
        kept = open_store(tokens.url)
        try:
            while not stopped.is_set():
                fresh = open_store(tokens.url)
                try:
                    with tokens.lock, fresh.connect() as connection:
                        connection.execute(COUNT)
                    with kept.connect() as connection:  # one that was opened with a password of before goes on
                        connection.execute(COUNT)
                    counts[number] += 1
                finally:
                    fresh.dispose()
        except Exception as error:  # noqa: BLE001 - told to the test
            failed.append(repr(error))
        finally:
            kept.dispose()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for _ in range(CHANGES):
        time.sleep(SECONDS / CHANGES)
        tokens.change()
    stopped.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert min(counts) > CHANGES
    print(f"\n  {2 * sum(counts)} statements amid {CHANGES} changes of the password, 0 failed")


def test_a_pool_whose_connections_were_ended_comes_back_with_the_new_password(server: Postgres, tmp_path: Path) -> None:
    tokens = Tokens(server, SERVICE, tmp_path)
    engine = open_store(tokens.url)
    for _ in range(3):
        with engine.connect() as connection:
            connection.execute(COUNT)
        assert tokens.end_connections() >= 1
        tokens.change()
    with engine.connect() as connection:
        connection.execute(COUNT)
    engine.dispose()


def test_migrations_take_it_too(server: Postgres, tmp_path: Path) -> None:
    migrate_at(Tokens(server, OWNER, tmp_path).url)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), ("", "is empty"), ("of-yesterday", "password authentication failed")],
)
def test_a_file_without_the_password_is_told_and_tried_again(
    content: str | None, said: str, server: Postgres, tmp_path: Path
) -> None:
    tokens = Tokens(server, SERVICE, tmp_path)
    right = tokens.file.read_bytes()
    tokens.file.unlink()
    if content is not None:
        tokens.file.write_text(content, encoding="utf-8")
    engine = open_store(tokens.url)
    with pytest.raises(DatabaseUnavailableError, match=said) as told, mapped_errors(), engine.connect():
        pass
    assert "token-" not in str(told.value)
    tokens.file.write_bytes(right)
    with engine.connect() as connection:
        connection.execute(COUNT)
    engine.dispose()


def test_a_path_that_depends_on_where_one_stands_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"password_file=token must be the absolute path"):
        open_store("postgresql+psycopg://one@host/name?password_file=token")


def test_mlflow_reads_libpqs_own_file_at_each_connection(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the chart of the platform relies on: MLflow opens its connections itself."""
    from mlflow.store.db.utils import create_sqlalchemy_engine

    monkeypatch.setenv("PGPASSWORD", "")
    file = tmp_path / "pgpass"
    file.touch(0o600)
    server.create_database("mlflow_again", OWNER)
    engine = create_sqlalchemy_engine(f"{server.url_of(MLFLOW, 'mlflow_again')}?passfile={file}")
    for token in ("one", "two"):
        server.query(f"ALTER ROLE {MLFLOW} PASSWORD '{token}'")
        file.write_text(f"*:*:*:*:{token}\n", encoding="utf-8")
        assert file.stat().st_mode & 0o077 == 0
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        server.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{MLFLOW}'")
    engine.dispose()
