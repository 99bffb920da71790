"""BentoML's documented service: one class, one API, its JSON endpoint."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1)
class Table:
    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api
    async def predict(self, rows: np.ndarray) -> list[float]:
        return self.pipeline.predict(rows.astype(float)).tolist()
