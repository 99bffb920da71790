"""The rows that come with a model: read and checked as training data are, as one dataset with the model's own."""

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pandas as pd

from beacon_core.domain.data_errors import ROWS, DataError
from beacon_core.domain.product import Product
from beacon_core.domain.source import Format, Source
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.platform import clock
from beacon_core.sources.table import as_file, load_table
from beacon_retraining.data.dataset import Dataset, dataset_of, refingerprinted
from beacon_retraining.data.row_rules import row_times
from beacon_retraining.data.validate import validate_table
from beacon_retraining.errors import ForeignModelError
from beacon_retraining.evaluation.known_rows import row_hashes
from beacon_retraining.foreign.figures import least_rows
from beacon_retraining.training.splits import Index

PARQUET = ".parquet"


class ReadRows(NamedTuple):
    """`given` are labelled rows that the model has not seen, and `frame` the same as a table.

    `training` are those that its owner says it was trained on, None without; `frame_of_training` likewise. `repeated`
    given rows were among them, and `unlabelled` ones have no target: both are left out.
    """

    given: Dataset
    frame: pd.DataFrame
    training: Dataset | None
    frame_of_training: pd.DataFrame | None
    repeated: int
    unlabelled: int

    @property
    def reference(self) -> Dataset:
        """The rows that ranges and the reference profile follow from."""
        return self.given if self.training is None else self.training


def read_rows(product: Product, given: Path, training: Path | None) -> ReadRows:
    """Read and check the files; raises `DataError`, and `ForeignModelError` where too few rows are left."""
    least = least_rows(product.training.interval_coverage)
    frame = _frame(product, given)
    labelled = frame[frame[product.target.name].notna()].reset_index(drop=True)
    if training is None:
        _check_count(product, given, len(labelled), least)
        return ReadRows(dataset_of(product, labelled), labelled, None, None, 0, len(frame) - len(labelled))
    own = _frame(product, training)
    own = own[own[product.target.name].notna()].reset_index(drop=True)
    # One dataset: the levels of text are numbered once.
    whole = dataset_of(product, pd.concat([own, labelled], ignore_index=True))
    hashes = row_hashes(product, whole)
    new = ~np.isin(hashes[len(own) :], hashes[: len(own)])
    _check_count(product, given, int(new.sum()), least)
    places = np.arange(len(hashes))
    return ReadRows(
        given=part(whole, places[len(own) :][new]),
        frame=labelled[new].reset_index(drop=True),
        training=part(whole, places[: len(own)]),
        frame_of_training=own,
        repeated=int((~new).sum()),
        unlabelled=len(frame) - len(labelled),
    )


def part(dataset: Dataset, rows: Index) -> Dataset:
    """Some rows of a dataset, in their order."""
    places = {int(row): at for at, row in enumerate(rows)}
    return refingerprinted(
        msgspec.structs.replace(
            dataset,
            features=dataset.features[rows],
            target=dataset.target[rows],
            others={(places[row], at): text for (row, at), text in dataset.others.items() if row in places},
            times=None if dataset.times is None else dataset.times[rows],
            weights=None if dataset.weights is None else dataset.weights[rows],
            groups=None if dataset.groups is None else dataset.groups[rows],
        )
    )


def _frame(product: Product, file: Path) -> pd.DataFrame:
    """The checked rows of a file, with their event times."""
    if not file.is_file():
        raise ForeignModelError(f"{file}: is no file")
    lags = [feature.name for feature in product.features if feature.lag is not None]
    if lags:
        raise ForeignModelError(
            f"features.{lags[0]} is a lag, which the feature store computes from an entity's past: a file of rows does "
            "not tell it, so no model can be brought to this product"
        )
    first, *others = product.sources
    sources = (_read_as(first, file), *(other for other in others if other.join))
    rows = msgspec.structs.replace(product.data.rows, min=1)  # the rule here is `_check_count`'s
    small = msgspec.structs.replace(product, data=msgspec.structs.replace(product.data, rows=rows))
    table = load_table(small, sources=sources).table
    frame = validate_table(table, small, file.name)
    return frame.assign(**{EVENT_TIME: row_times(product, frame, clock.now())[EVENT_TIME].to_numpy()}).assign(
        **{EVENT_TIME: lambda rows: pd.to_datetime(rows[EVENT_TIME], utc=True)}
    )


def _read_as(source: Source, file: Path) -> Source:
    """The source of a file: as the product's is written, unless one of them is Parquet and the other is not."""
    found = as_file(source, file)
    stated = source.format.type == "parquet" or str(source.place).endswith(PARQUET)
    return found if stated == (file.suffix == PARQUET) else msgspec.structs.replace(found, format=Format())


def _check_count(product: Product, file: Path, count: int, least: int) -> None:
    if count < least:
        coverage = product.training.interval_coverage
        raise DataError(
            file.name,
            ROWS,
            f"has {count} rows with a target that are new to the model; intervals of {coverage:.0%} "
            f"(training.interval_coverage) need at least {least}",
        )
