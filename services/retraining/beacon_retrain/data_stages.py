"""The stages fetch and validate: what comes from outside, checked."""

from pathlib import Path

import pandas as pd

from beacon_core.platform.data_file import DataError
from beacon_core.release import Pin, read_release
from beacon_retrain import triggers
from beacon_retrain.context import (
    CHAMPION,
    LABELS,
    PRODUCTION,
    RAW,
    ROWS,
    VALIDATION,
    Context,
)
from beacon_retrain.fetch import fetch, read_source
from beacon_retrain.files import write_json, write_table
from beacon_retrain.labels import PREDICTION, read_labels
from beacon_retrain.validate import check_shift, sound, validate


def fetch_all(context: Context) -> str:
    """Bring in everything that the rest depends on: the raw file, the labels, and who is champion."""
    settings, product, folder = context.settings, context.product, context.folder
    last = _last_accepted(context)

    def check(file: Path) -> None:
        rows = validate(file, product)
        if last is not None and not context.run.accept_shift:
            check_shift(product.source.file, rows, last, product)

    fetched = fetch(settings, product, folder / RAW, check)
    labels = _enough(context, read_labels(context.engine, product))
    write_table(folder / LABELS, labels)
    champion = find_champion(context)
    write_json(folder / CHAMPION, champion)
    told = f"champion is version {champion.version}" if champion else "there is no champion yet"
    return f"{fetched.source}: {fetched.why}; {len(labels)} labelled predictions; {told}"


def find_champion(context: Context) -> Pin | None:
    """The model in service: by the release file, where this machine has it, else by the registry's alias."""
    settings, name = context.settings, context.product.name
    if settings.release_file.exists():
        return read_release(settings.release_file).model
    from beacon_retrain import register  # noqa: PLC0415 - MLflow takes seconds, and is needed seldom

    registry = register.Registry(settings.mlflow_address)
    version = registry.version_at(name, register.CHAMPION)
    if version is None:
        return None
    return Pin(name, version, registry.bring(name, version, settings.models_dir).sha256)


def validate_all(context: Context) -> str:
    """Type and check the raw rows; set aside labelled predictions that break a rule of the product."""
    product, folder = context.product, context.folder
    source = read_source(folder / RAW, product)
    rows = validate(folder / RAW / product.source.file, product)
    labels = pd.read_parquet(folder / LABELS)
    kept = labels[sound(labels, product)]
    write_table(folder / ROWS, rows)
    write_table(folder / PRODUCTION, kept)
    shares = {name: float(rows[name].isna().mean()) for name in product.feature_names}
    facts = {"source": source, "rows": len(rows), "labels": len(labels), "labels_refused": len(labels) - len(kept)}
    write_json(folder / VALIDATION, facts | {"missing": shares})
    return f"{len(rows)} rows, {len(kept)} of {len(labels)} labelled predictions"


def _enough(context: Context, labels: pd.DataFrame) -> pd.DataFrame:
    """A scheduled run waits until enough labels are new; until then it keeps those of the last run."""
    file, target = context.folder / LABELS, context.product.target.name
    if context.run.trigger != triggers.SCHEDULE or not file.is_file():
        return labels
    before = pd.read_parquet(file)
    known = set(zip(before[PREDICTION], before[target], strict=True))
    new = sum(label not in known for label in zip(labels[PREDICTION], labels[target], strict=True))
    return labels if new >= context.product.retraining.min_new_labels else before


def _last_accepted(context: Context) -> pd.DataFrame | None:
    file = context.folder / RAW / context.product.source.file
    try:
        return validate(file, context.product)
    except (OSError, DataError):  # none yet, or accepted under other rules
        return None
