"""KServe's documented custom model: a python `Model` behind its ModelServer, asked by the V1 and V2 protocols."""

import os
from typing import Any

import joblib
import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Table(Model):
    def __init__(self) -> None:
        super().__init__("table")
        self.load()

    def load(self) -> bool:
        self.pipeline = joblib.load(os.environ["BENCH_MODEL"])
        self.ready = True
        return self.ready

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ARG002
        if not isinstance(payload, InferRequest):
            return {"predictions": self.pipeline.predict(np.array(payload["instances"], dtype=float)).tolist()}
        predictions = self.pipeline.predict(payload.inputs[0].as_numpy())
        output = InferOutput("predict", list(predictions.shape), "FP64", predictions)
        return InferResponse(payload.id, self.name, [output], requested_outputs=payload.request_outputs)


if __name__ == "__main__":
    ModelServer(http_port=int(os.environ["BENCH_PORT"]), enable_grpc=False, workers=1, enable_docs_url=False).start(
        [Table()]
    )
