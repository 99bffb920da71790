"""Which actual belongs to a prediction: one rule for every service.

An actual sent for the prediction's id counts; of several the newest row, since a correction is a later row. Without
one, an actual of the prediction's entity counts. It belongs to the entity's last prediction at or before it was
observed. Of those that belong to one prediction, the first observed counts, and of its corrections the newest row.

The rule has two forms, since the cost of a query depends on where it begins. `actual_id` begins at predictions: at one
of them, or at those of an hour. `labelled` begins at the actuals, which are fewer, and finds all predictions that have
one. tests/contract/core/test_which_actual.py holds both forms, and every caller, to the same answers.

Where only some clients' predictions count (`beacon_core.data.evidence`), the others are as if they had not been made:
they have no actual, and take none from an earlier prediction of their entity.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    ScalarSelect,
    Subquery,
    exists,
    func,
    select,
    true,
    union_all,
)

from beacon_core.data.evidence import EVERYTHING, counts
from beacon_core.data.prediction_log.reading import LakeSource, lake_of
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.actuals import LoggedActual
from beacon_core.domain.policy import Evidence


def actual_of(connection: Connection, prediction_id: str, entity: str | None, time: datetime) -> RowMapping | None:
    """Find the actual that belongs to a prediction made at `time`; the prediction itself need not be stored yet."""
    source = None if entity is None else lake_of(connection)
    if source is not None:
        return _actual_beside_lake(connection, source, prediction_id, entity, time)
    query = select(actuals).where(actuals.c.id == actual_id(prediction_id, entity, time))
    return connection.execute(query).mappings().first()


def _actual_beside_lake(
    connection: Connection, source: LakeSource, prediction_id: str, entity: str | None, time: datetime
) -> RowMapping | None:
    """The same where the later predictions of the entity, which may take its actual, are in a lake."""
    by_id = select(actuals).where(actuals.c.id == _newest_of(prediction_id))
    by_entity = select(actuals).where(actuals.c.id == _first_observed(entity, time))
    if (own := connection.execute(by_id).mappings().first()) is not None:
        return own
    first = connection.execute(by_entity).mappings().first()
    if first is None or entity is None:
        return first
    with source.begin() as handle:
        from beacon_core.data.prediction_log import lake  # noqa: PLC0415 - only where there is one

        return None if lake.has_row_of(handle, entity, time, first["observed_at"]) else first


def find(connection: Connection, prediction_id: str, entity: str | None, time: datetime) -> LoggedActual | None:
    """Find the actual of a prediction, as `actual_of`, with the columns that people see."""
    row = actual_of(connection, prediction_id, entity, time)
    return None if row is None else LoggedActual(*[row[name] for name in LoggedActual._fields])


def actual_id(prediction_id: Any, entity: Any, time: Any, evidence: Evidence = EVERYTHING) -> ColumnElement[int | None]:
    """`actuals.id` of the actual that belongs to a prediction, or null; of each row, where columns are given.

    The prediction itself is taken to count.
    """
    by_id = _newest_of(prediction_id)
    if entity is None:  # a comparison with it would find the actuals without an entity
        return by_id
    chosen, later = actuals.alias(), predictions.alias()
    following = select(func.min(later.c.time)).where(
        later.c.entity == entity, later.c.time > time, counts(later, evidence)
    )
    before_following = chosen.c.observed_at < following.correlate_except(later).scalar_subquery()
    by_entity = select(chosen.c.id).where(
        chosen.c.id == _first_observed(entity, time), func.coalesce(before_following, true())
    )
    return func.coalesce(by_id, by_entity.correlate_except(chosen).scalar_subquery())


def labelled(
    *columns: ColumnElement[Any],
    evidence: Evidence,
    model_version: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: int | None = None,
) -> Subquery:
    """Every prediction that counts and has an actual: `columns`, and `actual_id`, `value` and `observed_at`.

    `columns` are of `predictions`. `since` (inclusive) and `until` (exclusive) bound the time of the prediction,
    `model_version` names its model.
    `after` is an `actuals.id`: actuals up to it are not read.
    """
    wanted = [counts(predictions, evidence)]
    if model_version is not None:
        wanted.append(predictions.c.model_version == model_version)
    if since is not None:
        wanted.append(predictions.c.time >= since)
    if until is not None:
        wanted.append(predictions.c.time < until)
    arrived = [] if after is None else [actuals.c.id > after]
    newer = actuals.alias()
    superseded = exists().where(newer.c.prediction_id == actuals.c.prediction_id, newer.c.id > actuals.c.id)
    by_id = (
        select(*columns, *_facts(actuals))
        .join_from(actuals, predictions, predictions.c.id == actuals.c.prediction_id)
        .where(~superseded, *arrived, *wanted)
    )
    found = _of_entities(since, arrived, evidence)
    by_entity = (
        select(*columns, *_facts(found))
        .join_from(found, predictions, (predictions.c.entity == found.c.entity) & (predictions.c.time == found.c.time))
        .where(found.c.id == _first_observed(found.c.entity, found.c.time))
        .where(_newest_of(predictions.c.id).is_(None), *wanted)
    )
    return union_all(by_id, by_entity).subquery("labelled")


def of_last_before(evidence: Evidence) -> ColumnElement[bool]:
    """Join `actuals` of entities to the prediction that each belongs to; to several, where these are of one moment."""
    last = last_before(actuals.c.entity, actuals.c.observed_at, evidence, inclusive=True)
    return (predictions.c.entity == actuals.c.entity) & (predictions.c.time == last)


def last_before(entity: Any, moment: Any, evidence: Evidence, *, inclusive: bool) -> ScalarSelect[datetime | None]:
    """When the entity's last prediction that counts was made before a moment."""
    earlier = predictions.alias()
    before = earlier.c.time <= moment if inclusive else earlier.c.time < moment
    newest = select(func.max(earlier.c.time)).where(earlier.c.entity == entity, before, counts(earlier, evidence))
    return newest.correlate_except(earlier).scalar_subquery()


def _first_observed(entity: Any, time: Any) -> ScalarSelect[int | None]:
    """The entity's first actual at or after a moment, however many predictions lie between: one step in an index."""
    candidate = actuals.alias()
    return (
        select(candidate.c.id)
        .where(candidate.c.entity == entity, candidate.c.observed_at >= time)
        .order_by(candidate.c.observed_at, candidate.c.id.desc())
        .limit(1)
        .correlate_except(candidate)
        .scalar_subquery()
    )


def _newest_of(prediction_id: Any) -> ScalarSelect[int | None]:
    own = actuals.alias()
    newest = select(func.max(own.c.id)).where(own.c.prediction_id == prediction_id)
    return newest.correlate_except(own).scalar_subquery()


def _of_entities(since: datetime | None, arrived: list[ColumnElement[bool]], evidence: Evidence) -> Subquery:
    """Actuals of entities, each with the time of the prediction that it belongs to."""
    last = last_before(actuals.c.entity, actuals.c.observed_at, evidence, inclusive=True)
    found = select(actuals, last.label("time")).where(actuals.c.entity.is_not(None), *arrived)
    if since is not None:  # follows from the rule, and spares the search for earlier predictions
        found = found.where(actuals.c.observed_at >= since)
    # An offset changes nothing, but keeps PostgreSQL from joining every prediction of an entity to its every actual.
    return found.offset(0).subquery()


def _facts(table: FromClause) -> tuple[ColumnElement[Any], ...]:
    return table.c.id.label("actual_id"), table.c.value, table.c.observed_at
