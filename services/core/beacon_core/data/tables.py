"""The store: Beacon's tables (SQLAlchemy Core); database.py opens and migrates what holds them.

SQLite on a laptop, PostgreSQL in a cluster; the tables are the same. Times are UTC.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()
Json = JSON().with_variant(JSONB(), "postgresql")
# None becomes NULL instead of JSON's null, so that a query can test for it.
JsonOrNull = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime on every database (SQLite stores no time zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


HAS_ENTITY = text("entity IS NOT NULL")

# `features` are what the model saw before imputation; `from_store` names those that came from the feature store (null:
# no lookup), `imputed` those that neither had. `time` is when the prediction was made; `logged_at` when its row
# came, by the database's clock (spools ship late). `client` is the name of the API key that was sent; null without a
# key, or with one that is not accepted.
predictions = Table(
    "predictions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("time", UtcTime, nullable=False, index=True),
    Column("entity", String(512)),
    Column("features", Json, nullable=False),
    Column("from_store", JsonOrNull),
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
    Column("input_digest", String(64)),
    Column("client", String(63)),
    Column("logged_at", UtcTime, nullable=False, server_default=func.now(), index=True),
    Index("ix_predictions_model_version_time", "model_version", "time"),
    Index("ix_predictions_entity_time", "entity", "time", postgresql_where=HAS_ENTITY, sqlite_where=HAS_ENTITY),
)

# How many predictions there are, by hour (of `predictions.time`) and model version: the database's own trigger counts
# them. Writers at the same time have a `lane` each, so that none waits for another; readers sum over the lanes.
traffic = Table(
    "traffic",
    metadata,
    Column("hour", UtcTime, primary_key=True),
    Column("model_version", String(63), primary_key=True),
    Column("lane", Integer, primary_key=True, autoincrement=False),
    Column("predictions", BigInteger, nullable=False),
)

# Append-only: a correction is a later row, and the newest row of a prediction counts.
actuals = Table(
    "actuals",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("prediction_id", String(64), index=True),
    Column("entity", String(512)),
    Column("value", Float, nullable=False),
    Column("observed_at", UtcTime, nullable=False),
    Column("received_at", UtcTime, nullable=False, index=True),
    Column("source", String(64), nullable=False),
    Index("ix_actuals_entity_observed_at", "entity", "observed_at"),
)

# One row per run and stage of a job; `period` is what the run covers, so that a repeat can be recognised.
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

# One row per model version, hour (of `predictions.time`) and segment: a serialized whylogs profile, and sums over the
# rows with and without actuals. Segment "" is all, remade from the log whenever a row of that hour arrives; "day" is a
# whole day, rolled up.
profiles = Table(
    "profiles",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model_version", String(63), nullable=False),
    Column("hour", UtcTime, nullable=False),
    Column("segment", String(127), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("bytes", LargeBinary, nullable=False),
    Column("sums", Json, nullable=False),
    Column("profiled_at", UtcTime, nullable=False),
    UniqueConstraint("model_version", "hour", "segment"),
)

# One row per drift run. `period` is the hour that the run fell in (ISO 8601); `state` ok, drift, error or waiting
# (too few rows); `report` the self-contained HTML page, until it is too old to be kept; `distributions` those of the
# version in service, by column and window, of the newest run alone.
drift_runs = Table(
    "drift_runs",
    metadata,
    Column("period", String(64), primary_key=True),
    Column("created_at", UtcTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("summary", Json, nullable=False),
    Column("report", Text),
    Column("distributions", JsonOrNull),
)

# One row per run, window (1d, 7d, 30d), model version, kind (data, prediction, target), feature and effect (hellinger,
# null_rate, unseen, out_of_range). `state` is ok, drift, few_rows or no_reference; `confirmed` N alarms of M runs.
drift_results = Table(
    "drift_results",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("period", String(64), nullable=False),
    Column("window", String(8), nullable=False),
    Column("model_version", String(63), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("feature", String(64), nullable=False),
    Column("effect", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("score", Float),
    Column("p_value", Float),
    Column("threshold", Float),
    Column("rows", Integer, nullable=False),
    Column("alarm", Boolean, nullable=False),
    Column("confirmed", Boolean, nullable=False),
    Column("details", Json),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("period", "window", "model_version", "kind", "feature", "effect"),
)

# One row per run, window, segment ("" is all, or NAME=VALUE), model version and metric; `low` to `high` is a 95 %
# confidence interval over `rows`. `until` ends the window: earlier than the run where actuals come late.
model_error = Table(
    "model_error",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("period", String(64), nullable=False),
    Column("window", String(8), nullable=False),
    Column("segment", String(127), nullable=False),
    Column("model_version", String(63), nullable=False),
    Column("metric", String(32), nullable=False),
    Column("value", Float),
    Column("low", Float),
    Column("high", Float),
    Column("rows", Integer, nullable=False),
    Column("until", UtcTime, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("period", "window", "segment", "model_version", "metric"),
)

# How far a job has read.
watermarks = Table(
    "watermarks",
    metadata,
    Column("job", String(64), primary_key=True),
    Column("position", Json, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

# `cause` is unique: one request per cause. `state`: waiting, taken, done or refused; `outcome` says how it ended.
retrain_requests = Table(
    "retrain_requests",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("cause", String(255), nullable=False, unique=True),
    Column("requested_by", String(64), nullable=False),
    Column("reason", String, nullable=False),
    Column("details", Json),
    Column("created_at", UtcTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("taken_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("outcome", String),
)

# Append-only: the gate's verdicts on a model version against the champion of the moment; `verdict` is the whole of it.
verdicts = Table(
    "verdicts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("moment", UtcTime, nullable=False, index=True),
    Column("product", String(63), nullable=False),
    Column("version", String(63), nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("champion_version", String(63)),
    Column("outcome", String(16), nullable=False),
    Column("data_fingerprint", String(64), nullable=False),
    Column("verdict", Json, nullable=False),
)

# Append-only: a decision on a model version, approved or rejected; the newest one counts.
approvals = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("decided_at", UtcTime, nullable=False),
    Column("product", String(63), nullable=False),
    Column("version", String(63), nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("decision", String(16), nullable=False),
    Column("person", String(64), nullable=False),
    Column("reason", String, nullable=False),
)

# The ledger of promotions, append-only (triggers hold it): one row per step and outcome of a run. `key` is
# RUN/STEP/OUTCOME, so that a row that waited while the store was down is written once. `serving` are the pins that may
# answer from `moment` on.
promotions = Table(
    "promotions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("run", String(48), nullable=False),
    Column("moment", UtcTime, nullable=False),
    Column("product", String(63), nullable=False),
    Column("target", String(127), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(16), nullable=False),
    Column("step", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", String(32)),
    Column("message", String, nullable=False),
    Column("before", Json),
    Column("after", Json),
    Column("serving", Json, nullable=False),
    Column("evidence", Json),
    Index("ix_promotions_product_moment", "product", "moment"),
)

# The audit trail of what was deleted, append-only (triggers hold it): one row when an erasure begins, and one when a
# run of erasure or retention ends. `subject` has digests of what was to be erased, never the names; `removed` counts
# rows by place, and `remains` says what cannot be removed.
data_removals = Table(
    "data_removals",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run", String(64), nullable=False),
    Column("moment", UtcTime, nullable=False, index=True),
    Column("product", String(63), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("reason", String, nullable=False),
    Column("subject", Json, nullable=False),
    Column("removed", Json, nullable=False),
    Column("remains", Json, nullable=False),
)

# One row: the oldest revision whose code may use the schema (schema_support.py).
schema_support = Table("schema_support", metadata, Column("oldest_code", String(32), primary_key=True))
