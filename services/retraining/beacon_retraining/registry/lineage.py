"""Lineage: from a prediction's id to the model version, its run, its data and its code."""

from datetime import datetime

import msgspec
from sqlalchemy import Engine, select

from beacon_core.data import verdicts
from beacon_core.data.tables import predictions
from beacon_core.domain.product import Product
from beacon_retraining.errors import RetrainError
from beacon_retraining.registry.register import Registry


class LineageError(RetrainError):
    """The trace ends; the message says where."""


class Answered(msgspec.Struct, frozen=True):
    """What the log says of a prediction."""

    id: str
    time: datetime
    prediction: float
    model_version: str
    model_sha256: str
    request_id: str
    trace_id: str | None


def answered(engine: Engine, prediction_id: str) -> Answered:
    """The logged prediction; raises `LineageError`."""
    columns = [predictions.c[name] for name in Answered.__struct_fields__]
    with engine.connect() as connection:
        row = connection.execute(select(*columns).where(predictions.c.id == prediction_id)).one_or_none()
    if row is None:
        raise LineageError(f"no prediction {prediction_id!r} is in the log (it is shipped seconds after the answer)")
    return Answered(*row)


def trace(engine: Engine, registry: Registry, product: Product, prediction_id: str) -> dict[str, str]:
    """Each step from the answer back to data and code, in that order.

    Raises `LineageError` or `RegistryUnavailableError`.

    The log's digest decides: a version number whose package is another one is an error, never a guess.
    """
    answer = answered(engine, prediction_id)
    made = registry.origin(product.name, answer.model_version)
    if made.tags.get("sha256") != answer.model_sha256:
        raise LineageError(
            f"version {answer.model_version} in MLflow has the digest {made.tags.get('sha256')}, the prediction was "
            f"answered by {answer.model_sha256}: the registry was emptied or is another one"
        )
    said = verdicts.newest(engine, product.name, answer.model_version, answer.model_sha256)
    return {
        "prediction": f"{answer.id}: {answer.prediction:g} {product.target.unit}",
        "answered": answer.time.isoformat(),
        "request": answer.request_id,
        "trace": answer.trace_id or "-",
        "model": f"{product.name} version {answer.model_version}",
        "package": f"sha256 {answer.model_sha256}",
        "verdict": f"{said.outcome}: {said.reason}" if said else "-",
        "run": f"{registry.address}/#/experiments/{made.experiment_id}/runs/{made.run_id}",
        "algorithm": made.params.get("candidate", "-"),
        "data": f"sha256 {made.tags['data_fingerprint']}, {made.params.get('data.rows', '?')} rows, "
        f"{made.params.get('data.production_rows', '?')} of them from production",
        "rows": f'make data ARGS="trained-on {answer.model_version}"',
        "schema": made.tags["schema_hash"],
        "code": f"revision {made.tags['revision']}, inputs {made.tags['run_key']}",
    }
