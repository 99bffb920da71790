"""How to open and migrate the database that holds the tables: SQLite on a laptop, PostgreSQL in a cluster."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, DateTime, Engine, Table, create_engine, event, func, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from beacon_core.data import indexes, roles, schema_support
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.platform.file_urls import sqlite_file
from beacon_core.platform.locations import DATABASE_RULE
from beacon_core.platform.settings import SettingsError

__all__ = [
    "Connection", "DatabaseUnavailableError", "Engine", "SchemaError", "mapped_errors", "migrate", "migrate_at",
    "open_store", "sqlite_pragmas", "upsert",
]  # fmt: skip
"""`Connection` and `Engine` are SQLAlchemy's: services name them from here and import no SQLAlchemy."""

MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST = "head"
REQUEST_SECONDS = 10.0
"""How long one statement of a request may take in PostgreSQL."""
PREPARE, PASSWORD_FILE = "prepare_threshold", "password_file"
"""Options of the URL that are not libpq's own."""
LOCK_SECONDS = 5.0
"""How long a migration waits for a table that others use, before it gives up and is tried again."""
JOB_SECONDS = 3600.0
"""The same of a job, which may read the whole log; a migration has no limit."""


class DatabaseUnavailableError(Exception):
    """The database does not answer, or has no tables yet; a service answers with status 503."""

    exit_status = TRY_AGAIN


class SchemaError(ConfigurationError):
    """Another revision of Beacon wrote the database, and no migration leads from there to here."""


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Raise a database that does not answer as `DatabaseUnavailableError`."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseUnavailableError(message_of(error)) from error


def open_store(url: str, statement_seconds: float = JOB_SECONDS) -> Engine:
    """Open `url`; SQLite gets write-ahead logging, so that readers and the one writer never block each other.

    PostgreSQL ends a statement after `statement_seconds`. Raises `SettingsError` for a URL that is no database's.
    """
    try:
        return _open(url, statement_seconds)
    except SettingsError:
        raise
    except (ArgumentError, ValueError, ImportError) as error:  # none of which says more without quoting the password
        raise SettingsError(f"BEACON_DATABASE_URL: {DATABASE_RULE}") from error


def _open(url: str, statement_seconds: float) -> Engine:
    if url.startswith("sqlite"):
        if (file := sqlite_file(url)) is not None:
            _make_folder(file.parent)
        engine = create_engine(
            url, connect_args={"timeout": 10, "check_same_thread": False}, json_serializer=_json_text
        )
        event.listen(engine, "connect", sqlite_pragmas)
        return engine
    address, driver_options, password_file = _with_own_options(url)
    engine = create_engine(
        address,
        pool_pre_ping=True,
        pool_size=2,
        max_overflow=2,
        pool_timeout=5,
        connect_args={"connect_timeout": 3, **driver_options},
        json_serializer=_json_text,
    )
    limit = f"SET LOCAL statement_timeout = {round(statement_seconds * 1000)}"

    def limit_statements(connection: Connection) -> None:
        # In each transaction, and not in the connection's options: a pooler that gives each transaction another
        # connection refuses those, or would give them to somebody else.
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql(limit)

    event.listen(engine, "begin", limit_statements)
    if password_file is not None:
        _read_password_at_connect(engine, password_file)
    return engine


def _with_own_options(url: str) -> tuple[URL, dict[str, int | None], Path | None]:
    """The URL for libpq, psycopg's option `prepare_threshold` and the file of `password_file`, neither of them libpq's.

    `prepare_threshold=none` prepares no statement: a pooler in transaction mode would run it on a connection that does
    not know it.
    """
    address = make_url(url)
    prepare, file = (address.query.get(name) for name in (PREPARE, PASSWORD_FILE))
    options = {} if prepare is None else {PREPARE: None if prepare == "none" else int(str(prepare))}
    if file is not None and not Path(str(file)).is_absolute():
        raise SettingsError(f"BEACON_DATABASE_URL: {PASSWORD_FILE}={file} must be the absolute path of a file")
    return address.difference_update_query([PREPARE, PASSWORD_FILE]), options, None if file is None else Path(str(file))


def _read_password_at_connect(engine: Engine, file: Path) -> None:
    """Take the password of each new connection from a file: one that others write anew, such as a token of a cloud."""

    def read(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
        password = file.read_text(encoding="utf-8").strip()
        if not password:
            raise OSError(f"{file} is empty, and should have the password of the database")
        parameters["password"] = password

    event.listen(engine, "do_connect", read)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"BEACON_HOME, or BEACON_DATABASE_URL: {folder}: {error.strerror}") from error


def migrate(engine: Engine, revision: str = NEWEST) -> None:
    """Bring the database to the newest schema, or to an older revision's; safe to repeat.

    In PostgreSQL the roles of the services get their rights. A service, which may change no schema, only makes sure
    that it is the newest one. A later release's schema is left alone where it says that this code may use it. Indexes
    come last, and in PostgreSQL others read and write meanwhile. Raises `SchemaError` for a schema that is not known,
    and `DatabaseUnavailableError` for an old one that this user may not change.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Python begins no transaction for DDL: a process killed in the middle would leave half a schema for ever.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            if not roles.may_migrate(connection):
                _check_newest(connection)
                return
            roles.lock_migrations(connection)
            # Who waits for a table makes everybody wait that comes after: better to be told to try again.
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(LOCK_SECONDS * 1000)}")
        found, newest = _check_schema(connection)
        if found not in {None, *known_revisions()}:
            return
        if found != newest:
            _upgrade(connection, revision)
            schema_support.note(connection)
            if engine.dialect.name == "sqlite" and revision == NEWEST:
                indexes.build_at_once(connection)
        if engine.dialect.name == "postgresql":
            roles.grant_all(connection)
    if engine.dialect.name == "postgresql" and revision == NEWEST:
        with engine.begin() as connection:
            roles.lock_migrations(connection)
            indexes.build_beside_traffic(engine, connection)


@contextmanager
def hold_migrations(url: str) -> Iterator[bool]:
    """Hold the lock of migrations in the PostgreSQL database at `url`, MLflow's as well; gives whether it has a schema.

    Raises `DatabaseUnavailableError`.
    """
    engine = open_store(url)
    try:
        with mapped_errors():
            connection = engine.connect()
        with connection:
            with mapped_errors():
                roles.lock_migrations(connection)
                has_schema = inspect(connection).has_table(roles.SCHEMA_VERSION)
            yield has_schema
    finally:
        engine.dispose()


def migrate_at(url: str) -> None:
    """Migrate the database at `url`; raises `DatabaseUnavailableError` and `SchemaError`."""
    with mapped_errors():
        engine = open_store(url)
        try:
            migrate(engine)
        finally:
            engine.dispose()


def _upgrade(connection: Connection, revision: str) -> None:
    # Each stage of a retraining and each job makes sure of the tables, and only the first of them has any to make.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # Alembic expands %(name)s
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _check_newest(connection: Connection) -> None:
    """Refuse a schema that is not the newest one, to a user who may not change it."""
    found, newest = _check_schema(connection)
    if found is None or found < newest:
        raise DatabaseUnavailableError(
            f"the database needs a migration from {found or 'nothing'} to {newest}, which the user "
            f"{connection.engine.url.username} may not run: run it as the owner of the tables"
        )


def known_revisions() -> list[str]:
    """The schemas that this code knows, the newest last; their names begin with their number."""
    return sorted(file.stem for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _check_schema(connection: Connection) -> tuple[str | None, str]:
    """The schema's revision, None before the first, and the newest one.

    Refuses what Alembic would take for a part of a known revision's name, or not know how to leave. A later release's
    schema passes if it says that this code may use it.
    """
    has_revision = inspect(connection).has_table(roles.SCHEMA_VERSION)
    found = connection.scalar(text(f"SELECT version_num FROM {roles.SCHEMA_VERSION}")) if has_revision else None  # noqa: S608 - a name of ours
    known = known_revisions()
    oldest = schema_support.oldest_code(connection)
    if found is None or found in known or (found > known[-1] and oldest in known):
        return found, known[-1]
    url = connection.engine.url
    file = sqlite_file(str(url)) if connection.dialect.name == "sqlite" else None
    place = url.render_as_string(hide_password=True) if file is None else file
    way = "use an empty database" if file is None else f"move the folder {file.parent} away"
    raise SchemaError(
        f"The database {place} has the schema {found}, which this revision of Beacon does not know. "
        f"Run the revision that wrote it, or start over: {way}."
    )


class SchemaState(msgspec.Struct, frozen=True):
    """The schema that a database has, None before the first, the newest one, and what time the database has."""

    revision: str | None
    newest: str
    time: datetime


def schema_state(url: str) -> SchemaState | None:
    """The schema of the database at `url`, which stays as it is; None for a file that is not there yet.

    Raises `DatabaseUnavailableError` and `SchemaError`.
    """
    if url.startswith("sqlite") and (file := sqlite_file(url)) is not None and not file.exists():
        return None
    with mapped_errors():
        engine = open_store(url)
        try:
            with engine.connect() as connection:
                found, newest = _check_schema(connection)
                moment = connection.scalar(select(func.current_timestamp(type_=DateTime(timezone=True))))
        finally:
            engine.dispose()
    assert isinstance(moment, datetime)  # noqa: S101 - both databases have one
    return SchemaState(found, newest, moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def upsert(connection: Connection, table: Table, keys: tuple[str, ...], row: Mapping[str, Any]) -> None:
    """Insert a row, or replace the one with the same keys."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {name: value for name, value in row.items() if name not in keys}
    connection.execute(insert(table).values(row).on_conflict_do_update(index_elements=keys, set_=values))


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def sqlite_pragmas(connection: Any, _record: object) -> None:
    """Set up a new connection of SQLite, as an event of SQLAlchemy: write-ahead logging."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
