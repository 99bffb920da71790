"""The processes of a laptop: their commands, environments and health URLs."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import PREFIX, ROOT, Settings

ENVIRONMENTS = ROOT / ".venvs"
BEACON = ENVIRONMENTS / "laptop" / "bin" / "beacon"
"""The program, as `make` calls it."""
FEATURE_SERVING = "feature-serving"
MLFLOW = "mlflow"
# A laptop runs everything at once, and other programs too: a slow answer is better than a 503, or than a page with a
# false alarm.
LAPTOP_LIMITS = {
    f"{PREFIX}FEATURES_TIMEOUT_SECONDS": "10",
    f"{PREFIX}ONLINE_STORE_TIMEOUT_SECONDS": "5",
    f"{PREFIX}INFERENCE_METRICS_TIMEOUT_SECONDS": "2",
    f"{PREFIX}OVERLOAD_SECONDS": "10",
}


class Process(msgspec.Struct, frozen=True):
    """One process: Python of the environment `environment` with `arguments`."""

    name: str
    environment: str
    arguments: tuple[str, ...]
    health: str = ""
    """URL that answers 200 once the process is ready; empty for one without a port."""

    @property
    def python(self) -> Path:
        """The interpreter of the process's environment; this one where it does not exist (`uv run beacon`)."""
        own = ENVIRONMENTS / self.environment / "bin" / "python"
        return own if own.exists() else Path(sys.executable)

    @property
    def command(self) -> list[str]:
        """The whole command line."""
        return [str(self.python), *self.arguments]


def services(settings: Settings) -> tuple[Process, ...]:
    """The long-running processes; feature serving only for a product with an entity. Raises `ProductError`."""
    address = f"http://{settings.host}"
    has_entity = load_product(settings.product).entity is not None
    processes = (
        Process(
            MLFLOW,
            "retraining",
            ("-m", "beacon_laptop.mlflow_server"),
            f"{settings.mlflow_address}/health",
        ),
        Process(
            FEATURE_SERVING,
            "feature-serving",
            ("-m", "beacon_feature_serving"),
            f"{address}:{settings.features_port}/health",
        ),
        Process(
            "inference",
            "inference",
            ("-m", "beacon_inference"),
            f"{address}:{settings.inference_port}/readyz",
        ),
        Process(
            "prediction-log",
            "prediction-log",
            ("-m", "beacon_prediction_log"),
            f"{address}:{settings.prediction_log_metrics_port}/readyz",
        ),
        Process(
            "console",
            "console",
            ("-m", "beacon_console"),
            f"{address}:{settings.console_port}/readyz",
        ),
        Process("schedule", "laptop", ("-m", "beacon_laptop.schedule")),
        promotion("follow", name="promoter"),
    )
    return tuple(process for process in processes if has_entity or process.name != FEATURE_SERVING)


def training(settings: Settings, arguments: Sequence[str] = (), *, by_dvc: bool = False) -> Process:
    """The job that trains, registers and releases a model; it ends by itself. `arguments` are the job's.

    With DVC each stage is a process of its own, which takes twice as long and is recorded. A product's own training
    code has an environment with its libraries. Raises `ProductError`.
    """
    options = () if by_dvc else ("--here",)
    script = str(ROOT / "jobs" / "retrain.py")
    own_code = load_product(settings.product).training.entry_point is not None
    environment = "training" if own_code else on_engine(settings, "retraining")
    return Process("retrain", environment, (script, *options, *arguments))


def on_engine(settings: Settings, environment: str) -> str:
    """The environment of a job that reads the log: its own, or that of the engine."""
    return environment if settings.engine == "local" else settings.engine


def promotion(*arguments: str, name: str = "promote") -> Process:
    """The job that promotes and rolls back; its dark instances are processes of this package."""
    script = str(ROOT / "jobs" / "promote.py")
    return Process(name, "promotion", (script, *arguments))


def variables(settings: Settings, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of every process: the given variables, else a laptop's defaults; paths are absolute."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    own = settings.environment() | {
        f"{PREFIX}INFERENCE_METRICS_URL": f"http://{settings.host}:{settings.inference_metrics_port}",
        f"{PREFIX}SHARED_SPOOLS": str(settings.spools_dir),  # where batch scoring leaves what is to be logged
        "PYTHONUNBUFFERED": "1",
        "FEAST_USAGE": "False",
        "WHYLOGS_NO_ANALYTICS": "1",
        # The processes talk to each other on this machine, whatever proxy the machine uses for the rest.
        "NO_PROXY": ",".join(filter(None, [given.get("NO_PROXY", ""), "127.0.0.1", "localhost", settings.host])),
    }
    own["no_proxy"] = own["NO_PROXY"]
    defaults = {**dict.fromkeys(threads, "1"), **LAPTOP_LIMITS, **_revision()}
    return {**defaults, **{name: text for name, text in given.items() if text or name not in defaults}, **own}


@functools.cache
def _revision() -> dict[str, str]:
    """The checkout's revision as an environment variable; empty where git does not know it."""
    git = shutil.which("git")
    if git is None:
        return {}
    command = [git, "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    described = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - a command of our own
    return {f"{PREFIX}BUILD_REVISION": described} if described else {}
