"""One run of batch scoring: blocks of rows become parts of the output, in this process or as tasks of an engine."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.release import package_folder
from beacon_core.platform.settings import Settings
from beacon_inference.models.model import Model, load_model
from beacon_inference.scoring.columns import rows_of
from beacon_inference.scoring.entities import keys_of, look_up_all
from beacon_inference.scoring.inputs import PREDICTION_ID, Block
from beacon_inference.scoring.score import BadRows, Scorer
from beacon_inference.scoring.scored_log import ScoredLog

ROW = "row"


class NumberedBlock(NamedTuple):
    """A block of the input, and the number of the part that it becomes."""

    number: int
    block: Block


class ScoredPart(NamedTuple):
    """A part of the output, and its number: the number of each row, its key as far as the input has it, its answer."""

    number: int
    table: pa.Table


class ScoringRun:
    """Scores blocks by one model; `moment` is when the run began, in seconds since 1970.

    It can be pickled, with the files of its model, where it talks to nobody: without a log, and not by entity.
    """

    def __init__(self, models: Path, product: Product, model: Model, moment: float, bad_rows: BadRows) -> None:
        self._models = models
        self._product = product
        self._model = model
        self._moment = moment
        self._bad_rows: BadRows = bad_rows
        self._scorer = Scorer(product, model, moment, bad_rows)
        self.log: ScoredLog | None = None
        """Where the predictions are logged, too."""
        self.store: Settings | None = None
        """By which feature serving is asked for features of each row's entity."""

    @property
    def is_local(self) -> bool:
        """Whether it needs this machine's disk, or a server."""
        return self.log is not None or self.store is not None

    def __reduce__(self) -> "tuple[Callable[..., ScoringRun], tuple[object, ...]]":
        assert not self.is_local  # noqa: S101 - `is_local` says so
        folder = package_folder(self._models, self._model.pin)
        files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        return _reopened, (files, self._product, self._model.pin, self._moment, self._bad_rows)

    def parts(self, given: NumberedBlock) -> Iterator[ScoredPart]:
        """The part that a block becomes; raises `ScoringError`."""
        number, block = given
        began = time.perf_counter()
        rows = rows_of(block.table, self._product, keeps_texts=self.log is not None)
        keys = None if self.store is None else keys_of(self._product, block.table, rows)
        stored = None if keys is None or self.store is None else look_up_all(self.store, self._product, keys, rows)
        scored = self._scorer.score(rows, block.first_row, stored)
        if self.log is not None:
            seconds = (time.perf_counter() - began) / max(len(block.table), 1)
            self.log.write(number, scored, block.first_row, keys, seconds)
        yield ScoredPart(number, _beside_keys(block, self._product, scored.answers))


def _reopened(files: dict[str, bytes], product: Product, pin: Pin, moment: float, bad_rows: BadRows) -> ScoringRun:
    """The run in another process; its model is verified by its digest there, too."""
    with tempfile.TemporaryDirectory() as models:
        folder = package_folder(Path(models), pin)
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return ScoringRun(Path(models), product, load_model(Path(models), pin, product), moment, bad_rows)


def _beside_keys(block: Block, product: Product, answers: pa.Table) -> pa.Table:
    table = pa.table({ROW: pa.array(range(block.first_row, block.first_row + len(answers)), pa.int64())})
    for name in dict.fromkeys((PREDICTION_ID, *product.keys)):
        if name in block.table.column_names:
            table = table.append_column(name, block.table[name])
    for name in answers.column_names:
        table = table.append_column(name, answers[name])
    return table
