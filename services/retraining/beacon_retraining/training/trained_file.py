"""trained.json: the training's results, for the stages after it. The model is written as ONNX: nothing is pickled."""

from typing import Any

import msgspec
import numpy as np

from beacon_retraining.training.splits import Index
from beacon_retraining.training.train import TrainedModel


def encode(trained: TrainedModel) -> bytes:
    """All but the model and the spread's trees."""
    spread = msgspec.structs.replace(trained.interval.spread, trees=None)
    interval = msgspec.structs.replace(trained.interval, spread=spread)
    return msgspec.json.encode(msgspec.structs.replace(trained, model=None, interval=interval), enc_hook=_as_list)


def decode(content: bytes) -> TrainedModel:
    """What was encoded, to the last bit."""
    return msgspec.json.decode(content, type=TrainedModel, dec_hook=_as_array)


def _as_list(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise NotImplementedError(type(value))


def _as_array(kind: Any, value: Any) -> Any:
    return np.asarray(value, dtype=np.intp if kind == Index else np.float64)
