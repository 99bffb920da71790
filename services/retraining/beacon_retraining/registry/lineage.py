"""Lineage: from a prediction's id to the model version, its run, its data and its code."""

from beacon_core.data import prediction_log, verdicts
from beacon_core.data.database import Engine
from beacon_core.domain.product import Product
from beacon_retraining.errors import RetrainError
from beacon_retraining.registry.register import Registry


class LineageError(RetrainError):
    """The trace ends; the message says where."""


def trace(engine: Engine, registry: Registry, product: Product, prediction_id: str) -> dict[str, str]:
    """Each step from the answer back to data and code, in that order.

    Raises `LineageError` or `RegistryUnavailableError`.

    The log's digest decides: a version number whose package is another one is an error, never a guess.
    """
    with engine.connect() as connection:
        found = prediction_log.find(connection, [prediction_id])
    if not found:
        raise LineageError(f"no prediction {prediction_id!r} is in the log (it is shipped seconds after the answer)")
    (prediction,) = found
    origin = registry.origin(product.name, prediction.model_version)
    if origin.tags.get("sha256") != prediction.model_sha256:
        raise LineageError(
            f"version {prediction.model_version} in MLflow has the digest {origin.tags.get('sha256')}, the prediction "
            f"was made by {prediction.model_sha256}: the registry was emptied, or is not the one of that time"
        )
    verdict = verdicts.newest(engine, product.name, prediction.model_version, prediction.model_sha256)
    unlabelled = int(origin.params.get("data.unlabelled_rows", "0"))
    left_out = f"; {unlabelled} more have no target" if unlabelled else ""
    return {
        "prediction": f"{prediction.id}: {prediction.prediction:g} {product.target.unit}",
        "answered": prediction.time.isoformat(),
        "request": prediction.request_id,
        "trace": prediction.trace_id or "-",
        "model": f"{product.name} version {prediction.model_version}",
        "package": f"sha256 {prediction.model_sha256}",
        "verdict": f"{verdict.outcome}: {verdict.reason}" if verdict else "-",
        "run": f"{registry.address}/#/experiments/{origin.experiment_id}/runs/{origin.run_id}",
        "algorithm": origin.params.get("candidate", "-"),
        "data": f"sha256 {origin.tags['data_fingerprint']}, {origin.params.get('data.rows', '?')} rows, "
        f"{origin.params.get('data.production_rows', '?')} of them from production{left_out}",
        "rows": f'make data ARGS="trained-on {prediction.model_version}"',
        "schema": origin.tags["schema_hash"],
        "code": f"revision {origin.tags['revision']}, inputs {origin.tags['run_key']}",
    }
