"""The store: Beacon's tables (SQLAlchemy Core), and how to open and migrate the database that holds them.

SQLite on a laptop, PostgreSQL in a cluster; the tables are the same. Times are UTC.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from alembic import command
from alembic.config import Config
from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Dialect,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    create_engine,
    event,
)
from sqlalchemy.dialects.postgresql import JSONB

MIGRATIONS = Path(__file__).parent / "migrations"

metadata = MetaData()
Json = JSON().with_variant(JSONB(), "postgresql")


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime on every database (SQLite stores no time zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


predictions = Table(
    "predictions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("time", UtcTime, nullable=False, index=True),
    Column("entity", String(64), index=True),
    Column("features", Json, nullable=False),
    Column("served", Json),
    Column("imputed", Json, nullable=False),
    Column("out_of_range", Json, nullable=False),
    Column("prediction", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("model_version", String(63), nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("shadow_version", String(63)),
    Column("shadow_prediction", Float),
    Column("latency_seconds", Float, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("trace_id", String(32)),
    Column("body_sha256", String(64)),
)

# Append-only: a correction is a later row, and the newest row of a prediction counts.
actuals = Table(
    "actuals",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("prediction_id", String(64), index=True),
    Column("entity", String(64), index=True),
    Column("value", Float, nullable=False),
    Column("observed_at", UtcTime, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("source", String(64), nullable=False),
)

# One row a run and stage of a job; `period` is what the run covers, so that a repeat can be recognised.
job_runs = Table(
    "job_runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("job", String(64), nullable=False, index=True),
    Column("period", String(64), nullable=False),
    Column("stage", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("rows", Integer),
    Column("details", Json),
    Column("error", String),
)


def open_store(url: str) -> Engine:
    """Open `url`; SQLite gets write-ahead logging, so that readers and the one writer never block each other."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
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


def migrate(engine: Engine) -> None:
    """Bring the database to the newest schema; safe to repeat."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
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
