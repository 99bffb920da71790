"""The baseline: CatBoost's defaults on the bundled sample, measured on the search's folds.

`make compare-catboost` measures it once: CatBoost weighs more than all of retraining, so its figures are kept here.
They hold for one set of data and folds; for any other there is no baseline.
"""

from pathlib import Path

import msgspec

from beacon_retraining.training.settings import TrainSettings

FILE = Path(__file__).with_name("catboost.json")


class Baseline(msgspec.Struct, frozen=True):
    """Which library was measured on what: means over the folds and their spread, in the target's unit."""

    name: str
    version: str
    data_fingerprint: str
    folds: int
    repeats: int
    seed: int
    rmse: float
    rmse_spread: float
    pooled_rmse: float
    mae: float
    r2: float


def find_baseline(fingerprint: str, settings: TrainSettings, file: Path = FILE) -> Baseline | None:
    """The baseline's figures, where they were measured on these data and folds."""
    baseline = msgspec.json.decode(file.read_bytes(), type=Baseline)
    measured = baseline.data_fingerprint, baseline.folds, baseline.repeats, baseline.seed
    return baseline if measured == (fingerprint, settings.folds, settings.repeats, settings.seed) else None
