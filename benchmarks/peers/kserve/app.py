"""KServe's documented custom model: a python `Model` behind its ModelServer, asked by the V1 protocol."""

import os
from typing import Any

import joblib
import numpy as np
from kserve import Model, ModelServer


class Table(Model):
    def __init__(self) -> None:
        super().__init__("table")
        self.load()

    def load(self) -> bool:
        self.pipeline = joblib.load(os.environ["BENCH_MODEL"])
        self.ready = True
        return self.ready

    async def predict(self, payload: dict[str, Any], headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ARG002
        return {"predictions": self.pipeline.predict(np.array(payload["instances"], dtype=float)).tolist()}


if __name__ == "__main__":
    ModelServer(http_port=int(os.environ["BENCH_PORT"]), enable_grpc=False, workers=1, enable_docs_url=False).start(
        [Table()]
    )
