"""The servers under measurement: how each is installed, started, asked and understood."""

import json
import os
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from harness.machine import PEERS, ROOT, WORK, peer_environment
from harness.model import Model
from harness.tensors import Tensors

Row = dict[str, float]


class Call(msgspec.Struct, frozen=True):
    """One route: its path, the JSON for some rows, and the predictions in its answer."""

    path: str
    encode: Callable[[list[Row]], Any]
    decode: Callable[[Any], list[float]]


class Server(msgspec.Struct, frozen=True):
    """One server: `command` and `variables` take the port and start it in `folder`.

    `tensors` is None where the server's REST API takes no binary tensors.
    """

    name: str
    title: str
    environment: Path
    packages: list[str]
    command: Callable[[int], list[str]]
    variables: Callable[[int], dict[str, str]]
    folder: Path
    one: Call
    many: Call
    environment_counts: bool = True
    tensors: Tensors | None = None


def fastapi(model: Model) -> Server:
    """FastAPI and uvicorn with typed, named features."""
    environment = peer_environment("fastapi")
    start = [str(environment / "bin" / "uvicorn"), "app:app", "--no-access-log", "--log-level", "warning"]
    return Server(
        name="fastapi",
        title="FastAPI with uvicorn",
        environment=environment,
        packages=["fastapi", "uvicorn", "scikit-learn"],
        command=lambda port: [*start, "--port", str(port)],
        variables=lambda _: {"BENCH_MODEL": str(model.pipeline), "BENCH_NAMES": json.dumps(model.names)},
        folder=PEERS / "fastapi",
        one=Call("/predict", lambda rows: rows[0], lambda answer: [answer["prediction"]]),
        many=Call("/predict/batch", lambda rows: {"rows": rows}, lambda answer: answer["predictions"]),
    )


def mlserver(model: Model) -> Server:
    """MLServer's scikit-learn runtime by the Open Inference Protocol, its model in the serving process.

    It takes binary tensors by gRPC alone.
    """
    environment = peer_environment("mlserver")

    def variables(port: int) -> dict[str, str]:
        return {
            "MLSERVER_HTTP_PORT": str(port),
            "MLSERVER_GRPC_PORT": str(port + 1),
            "MLSERVER_METRICS_PORT": str(port + 2),
            # One core: a second process for the model only adds the way to it and back.
            "MLSERVER_PARALLEL_WORKERS": "0",
            "MLSERVER_DEBUG": "false",
            "MLSERVER_MODEL_URI": str(model.pipeline),
        }

    call = Call("/v2/models/table/infer", _open_inference, lambda answer: answer["outputs"][0]["data"])
    return Server(
        name="mlserver",
        title="MLServer (V2)",
        environment=environment,
        packages=["mlserver", "mlserver-sklearn", "scikit-learn"],
        command=lambda _: [str(environment / "bin" / "mlserver"), "start", "."],
        variables=variables,
        folder=PEERS / "mlserver",
        one=call,
        many=call,
    )


def kserve(model: Model) -> Server:
    """KServe's python Model by the V1 protocol; binary tensors come by the Open Inference Protocol."""
    environment = peer_environment("kserve")
    call = Call("/v1/models/table:predict", lambda rows: {"instances": _values(rows)}, lambda a: a["predictions"])
    return Server(
        name="kserve",
        title="KServe, a python Model (V1)",
        environment=environment,
        packages=["kserve", "scikit-learn"],
        command=lambda _: [str(environment / "bin" / "python"), "app.py"],
        variables=lambda port: {"BENCH_MODEL": str(model.pipeline), "BENCH_PORT": str(port)},
        folder=PEERS / "kserve",
        one=call,
        many=call,
        tensors=Tensors("/v2/models/table/infer", "predict"),
    )


def bentoml(model: Model) -> Server:
    """BentoML's service class by its JSON API."""
    environment = peer_environment("bentoml")
    call = Call("/predict", lambda rows: {"rows": _values(rows)}, lambda answer: answer)
    start = [str(environment / "bin" / "bentoml"), "serve", "service:Table"]
    variables = {
        "BENCH_MODEL": str(model.pipeline),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(WORK),
    }
    return Server(
        name="bentoml",
        title="BentoML",
        environment=environment,
        packages=["bentoml", "scikit-learn"],
        command=lambda port: [*start, "--port", str(port)],
        variables=lambda _: _with_path(environment, variables),
        folder=PEERS / "bentoml",
        one=call,
        many=call,
    )


def mlflow(model: Model) -> Server:
    """`mlflow models serve` by /invocations."""
    environment = peer_environment("mlflow")
    model.save_mlflow(environment)
    call = Call("/invocations", partial(_split, list(model.names)), lambda answer: answer["predictions"])
    start = [str(environment / "bin" / "mlflow"), "models", "serve", "--env-manager", "local", "--workers", "1"]
    return Server(
        name="mlflow",
        title="MLflow `models serve`",
        environment=environment,
        packages=["mlflow", "scikit-learn"],
        command=lambda port: [*start, "-m", str(model.mlflow), "--port", str(port)],
        variables=lambda _: _with_path(environment, {"MLFLOW_DISABLE_TELEMETRY": "true"}),
        folder=PEERS / "mlflow",
        one=call,
        many=call,
    )


def beacon(model: Model) -> Server:
    """Beacon's inference service as an operator starts it: validation, prediction log, metrics, access log."""
    environment = ROOT / ".venvs" / "inference"
    home = WORK / "home"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(model.home, home)

    def variables(port: int) -> dict[str, str]:
        return {
            "BEACON_HOME": str(home),
            "BEACON_INFERENCE_PORT": str(port),
            "BEACON_INFERENCE_METRICS_PORT": str(port + 1),
            "BEACON_PREDICTION_LOG_METRICS_PORT": str(port + 2),
        }

    return Server(
        name="beacon",
        title="**Beacon**",
        environment=environment,
        packages=["gunicorn", "uvicorn", "httptools", "uvloop", "onnxruntime", "numpy", "msgspec"],
        command=lambda _: with_log([str(environment / "bin" / "python"), "-m", "beacon_inference"]),
        variables=variables,
        folder=ROOT,
        one=Call("/v1/predict", _beacon_one, lambda answer: [answer["prediction"]]),
        many=Call("/v1/predict/batch", _beacon_many, _beacon_predictions),
        tensors=Tensors(f"/v2/models/{model.product}/infer", "prediction"),
    )


def with_log(command: list[str]) -> list[str]:
    """Inference's command with the prediction log's process beside it, on the same core: what it takes is Beacon's."""
    log = shlex.quote(str(ROOT / ".venvs" / "prediction-log" / "bin" / "python"))
    return ["sh", "-c", f'{log} -m beacon_prediction_log & exec "$@"', "beacon", *command]


def floor(model: Model) -> Server:
    """A bare ASGI function on Beacon's server, with Beacon's model and bodies, and nothing else."""
    environment = ROOT / ".venvs" / "inference"
    variables = {"BENCH_ONNX": str(model.onnx), "BENCH_FEATURES": ",".join(model.names)}
    start = [str(environment / "bin" / "gunicorn"), "-k", "uvicorn_worker.UvicornWorker"]
    return Server(
        name="floor",
        title="floor: bare ASGI function",
        environment=environment,
        packages=["gunicorn", "uvicorn", "httptools", "uvloop", "onnxruntime"],
        command=lambda port: [*start, "-w", "1", "-b", f"127.0.0.1:{port}", "--no-control-socket", "floor:app"],
        variables=lambda _: variables,
        folder=ROOT / "benchmarks" / "floor",
        one=Call("/", _beacon_one, lambda answer: [answer["prediction"]]),
        many=Call("/", _beacon_many, _beacon_predictions),
        environment_counts=False,
    )


SERVERS: dict[str, Callable[[Model], Server]] = {
    "beacon": beacon,
    "floor": floor,
    "fastapi": fastapi,
    "kserve": kserve,
    "mlserver": mlserver,
    "bentoml": bentoml,
    "mlflow": mlflow,
}
PEER_NAMES = ("fastapi", "kserve", "mlserver", "bentoml", "mlflow")


def _with_path(environment: Path, variables: dict[str, str]) -> dict[str, str]:
    """These start their workers by name: the environment comes first on the path."""
    return {**variables, "PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}


def _values(rows: list[Row]) -> list[list[float]]:
    return [list(row.values()) for row in rows]


def _open_inference(rows: list[Row]) -> dict[str, Any]:
    shape = [len(rows), len(rows[0])]
    return {"inputs": [{"name": "rows", "shape": shape, "datatype": "FP64", "data": _values(rows)}]}


def _split(columns: list[str], rows: list[Row]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": _values(rows)}}


def _beacon_one(rows: list[Row]) -> dict[str, Any]:
    return {"features": rows[0]}


def _beacon_many(rows: list[Row]) -> dict[str, Any]:
    return {"rows": [{"features": row} for row in rows]}


def _beacon_predictions(answer: dict[str, Any]) -> list[float]:
    return [row["prediction"] for row in answer["predictions"]]
