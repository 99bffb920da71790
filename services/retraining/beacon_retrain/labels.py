"""Labels: the predictions whose true value has arrived, as they lie in the store.

An actual sent for a prediction's id counts; otherwise one of its entity, the first that was observed at or after the
prediction and before the entity's next one. Of several for the same thing the newest row counts. This is how inference
answers for one prediction, done for all at once.
"""

from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine, Select, func, select

from beacon_core.product import Product
from beacon_core.store import actuals, predictions
from feature_repo.names import EVENT_TIME

PREDICTION = "prediction_id"
OBSERVED = "observed_at"


def label_columns(product: Product) -> list[str]:
    """The columns of the labels: prediction, entity (-1: none), its time, the features given, target, its time."""
    return [PREDICTION, product.entity.key, EVENT_TIME, *product.feature_names, product.target.name, OBSERVED]


def read_labels(engine: Engine, product: Product) -> pd.DataFrame:
    """Every labelled prediction, in order of time and id; features are those that the request gave, else NaN."""
    by_id = _by_id(engine)
    by_entity = _by_entity(engine)
    parts = [part for part in (by_id, by_entity[~by_entity["id"].isin(by_id["id"])]) if len(part)]
    found = pd.concat(parts, ignore_index=True) if parts else by_id
    found = found.sort_values(["time", "id"], kind="stable").reset_index(drop=True)
    given = pd.DataFrame.from_records(found["features"].tolist(), columns=list(product.feature_names))
    labels = given.astype("float64")
    labels[PREDICTION] = found["id"].astype("str")
    labels[product.entity.key] = pd.to_numeric(found["entity"]).fillna(-1).astype("int64")
    labels[EVENT_TIME] = found["time"].astype("datetime64[us, UTC]")
    labels[product.target.name] = found["value"].astype("float64")
    labels[OBSERVED] = found["observed_at"].astype("datetime64[us, UTC]")
    return labels[label_columns(product)]


def _by_id(engine: Engine) -> pd.DataFrame:
    newest = (
        select(func.max(actuals.c.id).label("id"))
        .where(actuals.c.prediction_id.is_not(None))
        .group_by(actuals.c.prediction_id)
        .subquery()
    )
    query = (
        select(
            predictions.c.id,
            predictions.c.entity,
            predictions.c.time,
            predictions.c.features,
            actuals.c.value,
            actuals.c.observed_at,
        )
        .join(actuals, actuals.c.prediction_id == predictions.c.id)
        .join(newest, newest.c.id == actuals.c.id)
    )
    return _frame(engine, query, ["id", "entity", "time", "features", "value", "observed_at"])


def _by_entity(engine: Engine) -> pd.DataFrame:
    """Each actual of an entity belongs to the entity's last prediction before it."""
    of_entities = select(actuals.c.entity).where(actuals.c.entity.is_not(None)).distinct()
    asked = select(predictions.c.id, predictions.c.entity, predictions.c.time, predictions.c.features)
    asked = asked.where(predictions.c.entity.in_(of_entities))
    told = select(actuals.c.entity, actuals.c.value, actuals.c.observed_at, actuals.c.id.label("number"))
    told = told.where(actuals.c.entity.is_not(None))
    left = _frame(engine, told, ["entity", "value", "observed_at", "number"])
    right = _frame(engine, asked, ["id", "entity", "time", "features"])
    # One row of each entity and moment: two predictions of one batch share both, and a label for one is one for both.
    moments = right[["entity", "time"]].drop_duplicates()
    joined = pd.merge_asof(
        left.sort_values("observed_at", kind="stable"),
        moments.sort_values("time", kind="stable"),
        left_on="observed_at",
        right_on="time",
        by="entity",
    ).dropna(subset=["time"])
    joined = joined.sort_values(["observed_at", "number"], ascending=[True, False], kind="stable")
    chosen = joined.drop_duplicates(["entity", "time"])
    return right.merge(chosen.drop(columns="number"), on=["entity", "time"])


def _frame(engine: Engine, query: Select[Any], columns: list[str]) -> pd.DataFrame:
    with engine.connect() as connection:
        frame = pd.DataFrame.from_records([tuple(row) for row in connection.execute(query)], columns=columns)
    for name in {"time", "observed_at"} & set(columns):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
    if "entity" in columns:
        frame["entity"] = frame["entity"].astype(object).where(frame["entity"].notna(), np.nan)
    return frame
