"""How to open and migrate the database that holds the tables: SQLite on a laptop, PostgreSQL in a cluster."""

from pathlib import Path
from typing import Any

import msgspec
from alembic import command
from alembic.config import Config
from sqlalchemy import (
    Engine,
    create_engine,
    event,
)
from sqlalchemy.exc import ArgumentError

from beacon_core.platform.file_urls import sqlite_file
from beacon_core.platform.locations import DATABASE_RULE
from beacon_core.platform.settings import SettingsError

MIGRATIONS = Path(__file__).parent / "migrations"


class DatabaseUnavailableError(Exception):
    """The database does not answer, or has no tables yet; who reads from a service is told so by status 503."""


def open_store(url: str) -> Engine:
    """Open `url`; SQLite gets write-ahead logging, so that readers and the one writer never block each other.

    Raises `SettingsError` for what is no address of a database.
    """
    try:
        return _open(url)
    except (ArgumentError, ValueError, ImportError) as error:  # none of which says more without quoting the password
        raise SettingsError(f"BEACON_DATABASE_URL: {DATABASE_RULE}") from error


def _open(url: str) -> Engine:
    if url.startswith("sqlite"):
        if (file := sqlite_file(url)) is not None:
            _make_folder(file.parent)
        engine = create_engine(
            url, connect_args={"timeout": 10, "check_same_thread": False}, json_serializer=_json_text
        )
        event.listen(engine, "connect", _sqlite_pragmas)
        return engine
    options = {"connect_timeout": 3, "options": "-c statement_timeout=10000"}
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=2,
        max_overflow=2,
        pool_timeout=5,
        connect_args=options,
        json_serializer=_json_text,
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"BEACON_HOME, or BEACON_DATABASE_URL: {folder}: {error.strerror}") from error


def migrate(engine: Engine) -> None:
    """Bring the database to the newest schema; safe to repeat."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # Alembic expands %(name)s
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Python begins no transaction for DDL: a process killed in the middle would leave half a schema for ever.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _sqlite_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
