"""What promotion reads from the prediction log: requests to send again, answers of a shadow, and the realised error.

Only rows that count are read (`beacon_core.data.evidence`). Each function opens a connection of its own and raises
`DatabaseUnavailableError`.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from beacon_core.data.actuals import before_newest
from beacon_core.data.database import Engine, mapped_errors
from beacon_core.data.evidence import client_counts, counts
from beacon_core.data.prediction_log import lake_joins
from beacon_core.data.prediction_log.either import find, scan
from beacon_core.data.prediction_log.port import LogSlice
from beacon_core.data.prediction_log.reading import LakeSource, lake_of
from beacon_core.data.prediction_log.which_actual import labelled
from beacon_core.data.tables import predictions
from beacon_core.domain.policy import Evidence
from beacon_core.domain.value_rules import Value

CORRECTED = 10
"""Actuals to read per prediction: some were corrected, or belong to older predictions."""
ROUNDING = 1e-12
MANY = 100_000
"""At most this many actuals or predictions are read, the newest ones: they show as much, and in bounded time."""


class LabelledFeatures(NamedTuple):
    """The features that a prediction was made from, and its actual."""

    features: dict[str, Value | None]
    actual: float


class ShadowAnswers(NamedTuple):
    """The answers of the candidate and of the model in service to the same `rows` requests.

    Means and spreads (standard deviations) are in the target's unit; `correlation` is Pearson's, None where one side
    does not vary.
    """

    rows: int
    new_mean: float
    old_mean: float
    new_spread: float
    old_spread: float
    correlation: float | None


class RealisedError(NamedTuple):
    """How many predictions of a model have an actual, and the mean absolute error on them; 0 where none has."""

    rows: int
    mean: float


def newest_labelled(engine: Engine, evidence: Evidence, since: datetime, count: int) -> list[LabelledFeatures]:
    """Read the predictions made since then whose actuals came last, the newest first."""
    with mapped_errors(), engine.connect() as connection:
        after = before_newest(connection, CORRECTED * count)
        found = labelled(predictions.c.id, predictions.c.features, evidence=evidence, since=since, after=after)
        if (source := lake_of(connection)) is not None:
            return _newest_in_lake(connection, source, evidence, since, after, count)
        query = select(found.c.features, found.c.value).order_by(found.c.actual_id.desc(), found.c.id).limit(count)
        return [LabelledFeatures(features, value) for features, value in connection.execute(query)]


def _newest_in_lake(
    connection: Connection, source: LakeSource, evidence: Evidence, since: datetime, after: int, count: int
) -> list[LabelledFeatures]:
    found = labelled(predictions.c.id, evidence=evidence, since=since, after=after)
    query = select(found.c.id, found.c.value).order_by(found.c.actual_id.desc(), found.c.id).limit(count)
    newest = lake_joins.query_labelled(connection, source, query, (), since, after)
    features = {row.id: row.features for row in find(connection, [name for name, _ in newest])}
    return [LabelledFeatures(dict(features[name]), value) for name, value in newest if name in features]


def newest_features(engine: Engine, evidence: Evidence, count: int) -> list[dict[str, Value | None]]:
    """Read the features of the newest predictions, the newest first."""
    with mapped_errors(), engine.connect() as connection:
        if lake_of(connection) is not None:
            rows = scan(connection, LogSlice(), ["features", "client"], newest_first=True, limit=MANY, size=count)
            found = (features for batch in rows for features, client in batch if client_counts(client, evidence))
            return list(islice(found, count))
    columns = predictions.c
    newest = select(columns.features, columns.client, columns.time).order_by(columns.time.desc()).limit(MANY).subquery()
    query = select(newest.c.features).where(counts(newest, evidence)).order_by(newest.c.time.desc()).limit(count)
    with mapped_errors(), engine.connect() as connection:
        return list(connection.execute(query).scalars())


def shadow_answers(engine: Engine, evidence: Evidence, version: str, since: datetime) -> ShadowAnswers | None:
    """Compare what `version` answered in shadow since then with what the users were answered; None without any.

    The database adds up: its memory and ours do not grow with the traffic.
    """
    new, old = predictions.c.shadow_prediction, predictions.c.prediction
    shown = (predictions.c.time >= since, predictions.c.shadow_version == version, new.is_not(None))
    rows = (*shown, counts(predictions, evidence))
    with mapped_errors(), engine.connect() as connection:
        if lake_of(connection) is not None:
            return _shadow_in_lake(connection, evidence, version, since)
        near_new, near_old = connection.execute(select(func.avg(new), func.avg(old)).where(*rows)).one()
        if near_new is None:
            return None
        # About their means: the squares of values far from zero would lose all digits.
        x, y = new - float(near_new), old - float(near_old)
        sums = (x, y, x * x, y * y, x * y)
        count, *found = connection.execute(select(func.count(), *map(func.sum, sums)).where(*rows)).one()
    return _answers(int(count), float(near_new), float(near_old), [float(one) for one in found])


def _shadow_in_lake(connection: Connection, evidence: Evidence, version: str, since: datetime) -> ShadowAnswers | None:
    """The same, about the first pair; the sums grow no faster than the rows."""
    rows, near, sums = 0, (0.0, 0.0), [0.0] * 5
    columns = ["shadow_version", "shadow_prediction", "prediction"]
    for batch in scan(connection, LogSlice(since=since, evidence=evidence), columns):
        pairs = [(new, old) for name, new, old in batch if name == version and new is not None]
        if pairs and not rows:
            near = pairs[0]
        apart = [(new - near[0], old - near[1]) for new, old in pairs]
        more = [(x, y, x * x, y * y, x * y) for x, y in apart]
        sums = (
            [math.fsum((total, *column)) for total, column in zip(sums, zip(*more, strict=True), strict=True)]
            if more
            else sums
        )
        rows += len(pairs)
    return _answers(rows, *near, sums) if rows else None


def _answers(count: int, near_new: float, near_old: float, sums: Sequence[float]) -> ShadowAnswers:
    """From the sums of both sides, less `near`, of their squares, and of their products."""
    mean_x, mean_y, xx, yy, xy = (one / count for one in sums)
    new_spread, old_spread = _spread(xx - mean_x**2, near_new), _spread(yy - mean_y**2, near_old)
    both = new_spread * old_spread
    return ShadowAnswers(
        rows=count,
        new_mean=near_new + mean_x,
        old_mean=near_old + mean_y,
        new_spread=new_spread,
        old_spread=old_spread,
        correlation=(xy - mean_x * mean_y) / both if both else None,
    )


def _spread(variance: float, mean: float) -> float:
    """The standard deviation; 0 for values that are one value, but for the rounding of their mean."""
    found = math.sqrt(max(variance, 0.0))
    return found if found > ROUNDING * abs(mean) else 0.0


def realised_error(
    engine: Engine, evidence: Evidence, version: str, since: datetime, until: datetime | None = None
) -> RealisedError:
    """Compute the error of the predictions that a model made since then, and before `until`."""
    with mapped_errors(), engine.connect() as connection:
        after = before_newest(connection, MANY)
        found = labelled(
            predictions.c.prediction, evidence=evidence, model_version=version, since=since, until=until, after=after
        )
        mean_error = func.avg(func.abs(found.c.prediction - found.c.value))
        query = select(func.count(), mean_error).select_from(found)
        if (source := lake_of(connection)) is not None:
            columns = ("model_version", "prediction")
            ((rows, mean),) = lake_joins.query_labelled(connection, source, query, columns, since, after)
        else:
            rows, mean = connection.execute(query).one()
    return RealisedError(int(rows), float(mean or 0.0))
