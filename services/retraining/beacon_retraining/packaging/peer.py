"""The peer: CatBoost's defaults on the bundled sample, measured once by `make compare-catboost` on the search's folds.

CatBoost weighs more than all of retraining, so its figures travel instead of it. They hold for one set of data and
folds; for any other there is no peer.
"""

from pathlib import Path

import msgspec

from beacon_retraining.training.settings import TrainSettings

FILE = Path(__file__).with_name("catboost.json")


class Peer(msgspec.Struct, frozen=True):
    """Who was measured on what: means over the folds and their spread, in the target's unit."""

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


def find_peer(fingerprint: str, settings: TrainSettings, file: Path = FILE) -> Peer | None:
    """The peer's figures, where they were measured on these data and folds."""
    peer = msgspec.json.decode(file.read_bytes(), type=Peer)
    measured = peer.data_fingerprint, peer.folds, peer.repeats, peer.seed
    return peer if measured == (fingerprint, settings.folds, settings.repeats, settings.seed) else None
