"""Scored rows into the prediction log: a spool for each part, which the log's process ships once nobody has it open.

An id follows from the run's facts, its begin and the row's number. So a part that is written again, after a run that
was killed, has the ids that it had before, and every store keeps one row of an id.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from beacon_core.domain.entity_key import EntityKey, key_text
from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.product import Product
from beacon_core.spool.record import Record, encode_record
from beacon_core.spool.segments import SpoolWriter, sync_segments
from beacon_inference.matrix import Mask
from beacon_inference.models.model import Model
from beacon_inference.prediction.encoding import ValueEncoder
from beacon_inference.scoring.parts import ScoringFacts
from beacon_inference.scoring.score import Scored

RECORD_ROWS = 1000
ROW_DIGITS = RUN_DIGITS = 10
MOST_BYTES = 1 << 62
MILLISECONDS = 1000


class SpoolFullError(OSError):
    """The disk of the spools is full: nothing of the part is logged."""

    exit_status = TRY_AGAIN


class ScoredLog:
    """Writes spools into `folder`, which the log's process looks through (BEACON_SHARED_SPOOLS)."""

    def __init__(self, folder: Path, product: Product, model: Model, facts: ScoringFacts, begun: float) -> None:
        self._folder = folder
        self._encoder = ValueEncoder(product)
        self._model = model
        self._begun = begun
        self._run = hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:RUN_DIGITS]

    def write(
        self, number: int, scored: Scored, first_row: int, keys: Sequence[EntityKey | None] | None, seconds: float
    ) -> None:
        """Write the answered rows of a part, whose first has the number `first_row`; `seconds` is what a row took.

        Raises `SpoolFullError`.
        """
        spool = self._folder / f"score-{self._run}-{int(self._begun)}-{number:06d}"
        writer = SpoolWriter(spool, MOST_BYTES, is_synced=True)
        try:
            for first in range(0, len(scored.places), RECORD_ROWS):
                record = self._record(scored, slice(first, first + RECORD_ROWS), first_row, keys, seconds)
                if writer.append(encode_record(record) + b"\n") is None:
                    raise SpoolFullError("the disk of the spools is full")
            sync_segments(writer.take_unsynced())  # as the part is, which is not scored again
        except SpoolFullError:
            shutil.rmtree(spool, ignore_errors=True)
            raise
        finally:
            writer.close()

    def _record(
        self, scored: Scored, some: slice, first_row: int, keys: Sequence[EntityKey | None] | None, seconds: float
    ) -> Record:
        places = scored.places[some].tolist()
        features, output, pin = scored.features, scored.output, self._model.pin
        first = some.start
        texts = {(row - first, at): text for (row, at), text in features.texts.items() if first <= row < some.stop}
        stem = f"{int(self._begun * MILLISECONDS):012x}{self._run}"
        entities = None if keys is None else [None if keys[row] is None else key_text(keys[row]) for row in places]
        return Record(
            ids=[f"{stem}{first_row + row:0{ROW_DIGITS}x}" for row in places],
            time=self._begun,
            names=self._encoder.names,
            features=self._encoder.block(features.values[some], texts),
            prediction=output.prediction[some],
            low=output.low[some],
            high=output.high[some],
            version=pin.version,
            sha256=pin.sha256,
            latency=seconds,
            request_id=f"score-{self._run}",
            trace_id="",
            out_of_range=_columns(features.out_of_range, some) or {},
            from_store=_columns(features.from_store, some),
            entities=entities,
        )


def _columns(mask: Mask | None, some: slice) -> dict[int, list[int]] | None:
    """The masked columns of each of some rows that has one."""
    if mask is None:
        return None
    found: dict[int, list[int]] = {}
    for row, column in np.argwhere(mask[some]).tolist():
        found.setdefault(row, []).append(column)
    return found
