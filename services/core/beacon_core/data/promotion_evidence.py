"""What promotion reads from the prediction log: requests to send again, pairs of a shadow, and the realised error.

Each function opens a connection of its own and raises `DatabaseUnavailableError`.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from beacon_core.data.actuals import before_newest, labelled
from beacon_core.data.database import Engine, mapped_errors
from beacon_core.data.tables import predictions
from beacon_core.domain.value_rules import Value

CORRECTED = 10
"""Actuals to read per prediction: some were corrected, or belong to older predictions."""
MANY = 100_000
"""At most this many actuals are read, the newest ones: they show the error as well, and in bounded time."""


class LabelledFeatures(NamedTuple):
    """The features that a prediction was made from, and its actual."""

    features: dict[str, Value | None]
    actual: float


class ShadowPair(NamedTuple):
    """The answers of the candidate and of the model in service to one request."""

    new: float
    old: float


class RealisedError(NamedTuple):
    """How many predictions of a model have an actual, and the mean absolute error on them; 0 where none has."""

    rows: int
    mean: float


def newest_labelled(engine: Engine, since: datetime, count: int) -> list[LabelledFeatures]:
    """Read the predictions made since then whose actuals came last, the newest first."""
    with mapped_errors(), engine.connect() as connection:
        after = before_newest(connection, CORRECTED * count)
        found = labelled(predictions.c.id, predictions.c.features, since=since, after=after)
        query = select(found.c.features, found.c.value).order_by(found.c.actual_id.desc(), found.c.id).limit(count)
        return [LabelledFeatures(features, value) for features, value in connection.execute(query)]


def newest_features(engine: Engine, count: int) -> list[dict[str, Value | None]]:
    """Read the features of the newest predictions, the newest first."""
    query = select(predictions.c.features).order_by(predictions.c.time.desc()).limit(count)
    with mapped_errors(), engine.connect() as connection:
        return list(connection.execute(query).scalars())


def shadow_pairs(engine: Engine, version: str, since: datetime) -> list[ShadowPair]:
    """Read what `version` answered in shadow since then, beside what the user was answered."""
    table = predictions.c
    query = (
        select(table.shadow_prediction, table.prediction)
        .where(table.time >= since, table.shadow_version == version)
        .where(table.shadow_prediction.is_not(None))
    )
    with mapped_errors(), engine.connect() as connection:
        return [ShadowPair(float(new), float(old)) for new, old in connection.execute(query)]


def realised_error(engine: Engine, version: str, since: datetime, until: datetime | None = None) -> RealisedError:
    """Compute the error of the predictions that a model made since then, and before `until`."""
    with mapped_errors(), engine.connect() as connection:
        after = before_newest(connection, MANY)
        found = labelled(predictions.c.prediction, model_version=version, since=since, until=until, after=after)
        mean_error = func.avg(func.abs(found.c.prediction - found.c.value))
        rows, mean = connection.execute(select(func.count(), mean_error).select_from(found)).one()
    return RealisedError(int(rows), float(mean or 0.0))
