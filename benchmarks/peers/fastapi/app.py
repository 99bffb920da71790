"""FastAPI as a careful team writes it: typed, named features, one array, one model call, kept off the thread pool."""

import json
import os

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, create_model

pipeline = joblib.load(os.environ["BENCH_MODEL"])
app = FastAPI()


# What a team would write out: one optional number a feature.
NAMES = json.loads(os.environ["BENCH_NAMES"])
Row = create_model("Row", **dict.fromkeys(NAMES, (float | None, None)))


class Rows(BaseModel):
    rows: list[Row]


class Prediction(BaseModel):
    prediction: float


class Predictions(BaseModel):
    predictions: list[float]


def matrix(rows: list[Row]) -> np.ndarray:
    return np.array([list(row.__dict__.values()) for row in rows], dtype=float)


# `async def`: the call is CPU work of well under a millisecond, and a hop through the thread pool makes it slower.
@app.post("/predict")
async def predict(row: Row) -> Prediction:
    return Prediction(prediction=pipeline.predict(matrix([row]))[0])


@app.post("/predict/batch")
async def predict_batch(rows: Rows) -> Predictions:
    return Predictions(predictions=pipeline.predict(matrix(rows.rows)).tolist())
