"""The models that every server serves, trained here once and kept until code or data change.

One is the product's own, and one is the plain boosting that a user would pick instead. Of each family that the search
may choose there is one more, for single rows alone.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import msgspec

from harness.machine import PEERS, ROOT, WORK, BenchError, say

TRAINER = Path(__file__).with_name("train.py")
SERVICES = ROOT / "services"
PRODUCT_FILE = Path(os.environ.get("BEACON_PRODUCT") or ROOT / "feature_repo" / "product.yaml")
MADE_OF = (
    *sorted((SERVICES / "retraining").rglob("*.py")),
    *sorted(file for pattern in ("*", "*/*") for file in PRODUCT_FILE.parent.glob(pattern) if file.is_file()),
    ROOT / "feature_repo" / "feature_store.yaml",
    *sorted((SERVICES / "core" / "beacon_core" / "feature_store").rglob("*.py")),
    *sorted((SERVICES / "core" / "beacon_core" / "model_package").rglob("*.py")),
    TRAINER,
    ROOT / "uv.lock",
)


PRODUCT, PLAIN = "product", "plain"
"""The models' names, which key all results; what does not depend on the model is measured with the first."""


class Model(msgspec.Struct, frozen=True):
    """A model's files and 1,000 complete rows, their entities, and scikit-learn's own answer to each.

    `product` is the name by which Beacon's clients ask for it.
    """

    name: str
    product: str
    folder: str
    home: str
    algorithm: str
    names: tuple[str, ...]
    entity: str
    feature_service: str
    entities: tuple[int, ...]
    rows: tuple[dict[str, float], ...]
    expected: tuple[float, ...]

    @property
    def title(self) -> str:
        """What the page calls it."""
        return self.algorithm if self.name == PLAIN else f"the product's {self.algorithm}"

    @property
    def pipeline(self) -> Path:
        """The fitted scikit-learn pipeline, as the peers load it."""
        return Path(self.folder) / "pipeline.joblib"

    @property
    def onnx(self) -> Path:
        """The same model as Beacon and the floor run it."""
        return Path(self.folder) / "model.onnx"

    @property
    def mlflow(self) -> Path:
        """The same pipeline as an MLflow model."""
        return Path(self.folder) / "mlflow"

    def save_mlflow(self, environment: Path) -> None:
        """Let MLflow's own environment save the pipeline in its format."""
        shutil.rmtree(self.mlflow, ignore_errors=True)
        command = [environment / "bin" / "python", PEERS / "mlflow" / "save.py", self.pipeline, self.mlflow]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"mlflow could not save the model: {done.stderr.strip()}")


class Models(msgspec.Struct, frozen=True):
    """`compared` are those that every server is measured with, by name; `families` one of each family, by its name."""

    compared: dict[str, Model]
    families: dict[str, Model]


def make_models() -> Models:
    """The models of this code and data; trained in the retraining service's environment when they are not there yet."""
    made_of = hashlib.sha256()
    for file in MADE_OF:
        made_of.update(file.read_bytes())
    folder = WORK / "models"
    stamp = folder / "made-of"
    if not stamp.exists() or stamp.read_text() != made_of.hexdigest():
        say("training the models (once)")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _train(folder)
        stamp.write_text(made_of.hexdigest())
    compared = [folder / name / "model.json" for name in (PRODUCT, PLAIN)]
    return Models(_read(compared), _read(sorted((folder / "families").glob("*/model.json"))))


def _read(files: list[Path]) -> dict[str, Model]:
    models = [msgspec.json.decode(file.read_bytes(), type=Model) for file in files]
    return {model.name: model for model in models}


def _train(folder: Path) -> None:
    variables = {
        "BEACON_HOME": str(folder / PRODUCT / "home"),
        "OMP_NUM_THREADS": "1",
    }
    python = ROOT / ".venvs" / "retraining" / "bin" / "python"
    done = subprocess.run(
        ["taskset", "-c", "0,1", python, TRAINER, folder],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    if done.returncode:
        raise BenchError(f"the models could not be trained: {done.stderr.strip()}")
