"""The stages fetch and validate: external data, checked."""

import tempfile
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa

from beacon_core.data.champion import champion as recorded_champion
from beacon_core.data.database import Engine
from beacon_core.domain.data_errors import DataError
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.model_package.download import download_package
from beacon_core.model_package.manifest import PackageError
from beacon_core.model_package.release import read_release
from beacon_core.model_package.signature import DIGEST_ALONE
from beacon_core.platform.job import log
from beacon_core.platform.mlflow import Mlflow, RegistryUnavailableError
from beacon_core.platform.settings import Settings
from beacon_core.sources.table import read_stored, table_name
from beacon_retraining.data.fetch import TABLE_FILE, fetch, read_source
from beacon_retraining.data.labels import PREDICTION, read_labels
from beacon_retraining.data.row_counts import unlabelled_text
from beacon_retraining.data.validate import check_shift, valid_rows, validate_table
from beacon_retraining.files import write_json, write_table
from beacon_retraining.pipeline import triggers
from beacon_retraining.pipeline.context import (
    CHAMPION,
    LABELS,
    PRODUCTION,
    RAW,
    REGISTERED,
    ROWS,
    VALIDATION,
    Context,
    RegistrationResult,
)


def fetch_all(context: Context) -> str:
    """Fetch what the other stages depend on: the raw file, the labels and the champion."""
    settings, product, folder = context.settings, context.product, context.folder
    last = _last_accepted(context)

    def check(table: pa.Table) -> None:
        rows = validate_table(table, product)
        if last is not None and not context.run.accept_shift:
            check_shift(table_name(product), rows, last, product)

    fetched = fetch(settings, product, folder / RAW, check)
    labels = _labels_to_use(context, read_labels(context.engine, product))
    write_table(folder / LABELS, labels)
    champion = find_champion(settings, product.name, context.engine)
    write_json(folder / CHAMPION, champion)
    context.add_lost_package(_lost_package(context))
    champion_message = f"champion is version {champion.version}" if champion else "there is no champion yet"
    return f"{fetched.source}: {fetched.why}; {len(labels)} labelled predictions; {champion_message}"


def find_champion(settings: Settings, name: str, engine: Engine) -> Pin | None:
    """The model in service: by the release file, where this machine has it, else by the store."""
    if settings.release_file.exists():
        return read_release(settings.release_file).model
    return recorded_champion(engine, name)


def _lost_package(context: Context) -> str | None:
    """The digest of the package that was registered last, where the registry no longer has an intact copy."""
    file = context.folder / REGISTERED
    if not file.is_file():
        return None
    last = msgspec.json.decode(file.read_bytes(), type=RegistrationResult)
    pin, address = Pin(context.product.name, last.version, last.sha256), context.settings.mlflow_address
    try:
        with tempfile.TemporaryDirectory() as folder:
            if not Mlflow(address).has_run(last.run_id):
                raise PackageError(f"the run of version {pin.version} was deleted")
            download_package(address, pin, Path(folder), DIGEST_ALONE)  # its bytes alone are in question
    except RegistryUnavailableError:
        return None  # the stage package reports it, where it needs the registry
    except PackageError as error:
        if pin.sha256 not in context.lost_packages():
            log.warning("version %s is made again: %s", pin.version, message_of(error))
        return pin.sha256
    return None


def validate_all(context: Context) -> str:
    """Type and check the raw rows; exclude labelled predictions that break a rule of the product."""
    product, folder = context.product, context.folder
    source = read_source(folder / RAW)
    rows = validate_table(read_stored(folder / RAW / TABLE_FILE, product), product)
    labels = pd.read_parquet(folder / LABELS)
    valid = labels[valid_rows(labels, product)]
    write_table(folder / ROWS, rows)
    write_table(folder / PRODUCTION, valid)
    shares = {name: float(rows[name].isna().mean()) for name in product.feature_names}
    unlabelled = int(rows[product.target.name].isna().sum())
    facts = {"source": source, "rows": len(rows), "unlabelled": unlabelled}
    facts |= {"labels": len(labels), "labels_refused": len(labels) - len(valid), "missing": shares}
    write_json(folder / VALIDATION, facts)
    return f"{len(rows)} rows{unlabelled_text(unlabelled)}; {len(valid)} of {len(labels)} labelled predictions"


def _labels_to_use(context: Context, labels: pd.DataFrame) -> pd.DataFrame:
    """A scheduled run waits until enough labels are new; until then it keeps those of the last run."""
    file, target = context.folder / LABELS, context.product.target.name
    if context.run.trigger != triggers.SCHEDULE or not file.is_file():
        return labels
    before = pd.read_parquet(file)
    known = set(zip(before[PREDICTION], before[target], strict=True))
    new = sum(label not in known for label in zip(labels[PREDICTION], labels[target], strict=True))
    return labels if new >= context.product.policy.retraining.min_new_labels else before


def _last_accepted(context: Context) -> pd.DataFrame | None:
    file = context.folder / RAW / TABLE_FILE
    try:
        return validate_table(read_stored(file, context.product), context.product)
    except DataError:  # none yet, or accepted under other rules
        return None
