"""The workspace: the folder in BEACON_HOME where the pipeline's files lie, apart from the checkout.

It is DVC's repository. dvc.yaml and params.yaml come from the checkout each time; the other inputs of the stages
(product.yaml, the code) are written as files, so that DVC sees a change. Of policy.yaml, the stages depend only on the
limits of the verdict (dvc.yaml): another limit reruns no stage. Where there is git, the workspace has a history of its
own, one commit per run; an image has no git, and DVC works without.
"""

import hashlib
import shutil
from importlib.metadata import version as library_version
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import yaml
from configobj import ConfigObj

import beacon_core
import beacon_retraining
from beacon_core.domain.policy import POLICY_FILE
from beacon_core.platform.files import write_atomically
from beacon_core.platform.settings import ROOT, Settings
from beacon_retraining.files import write_json
from beacon_retraining.training.entry_point.code import TrainingCode, digest_of
from beacon_retraining.training.libraries import LIBRARIES
from beacon_retraining.training.settings import TrainSettings

PIPELINE, PARAMS, LOCK = "dvc.yaml", "params.yaml", "dvc.lock"
PRODUCT, CODE, EVALUATION_CODE, RUN = "product.yaml", "code.json", "judge.json", "run.json"
ENTRY_POINT = "entry_point.json"
"""The training code as it was when the run began; code.json has its digest."""
VERSIONED = (PIPELINE, PARAMS, LOCK, PRODUCT, POLICY_FILE, CODE, EVALUATION_CODE, ".dvc/config", ".gitignore")

MODEL_ROOMS = ("data", "training", "packaging")
CORE_MODULES = (
    "data/prediction_log/labels.py",
    "domain/derived.py",
    "domain/feature.py",
    "domain/numbers.py",
    "domain/product.py",
    "domain/product_entry.py",
    "domain/schema.py",
    "domain/text.py",
    "domain/value_rules.py",
    "model_package/manifest.py",
    "model_package/model_inputs.py",
    "model_package/recipe.py",
    "platform/training_code.py",
)
CORE_ROOMS = ("feature_store", "sources")
"""The code that a model follows from: rooms of this package, modules and rooms of core."""

EVALUATION_ROOMS = ("evaluation",)
"""The code that a verdict follows from."""


class Run(msgspec.Struct, frozen=True):
    """The options of one run; no result depends on them. `period` names the run in the store."""

    period: str
    trigger: str
    jobs: int = -1
    accept_shift: bool = False


def folder_of(settings: Settings) -> Path:
    """Where the workspace is."""
    return settings.home / "pipeline"


def prepare(settings: Settings, training: TrainSettings, run: Run, entry_point: TrainingCode | None = None) -> Path:
    """Update the workspace to the checkout, the parameters and the training code; an unchanged file is not written."""
    folder = folder_of(settings)
    folder.mkdir(parents=True, exist_ok=True)
    _write_if_changed(folder / PIPELINE, (ROOT / PIPELINE).read_bytes())
    _write_if_changed(folder / PARAMS, yaml.safe_dump({"train": params_of(training)}, sort_keys=False).encode())
    _write_if_changed(folder / PRODUCT, settings.product.read_bytes())
    _write_if_changed(folder / POLICY_FILE, settings.product.with_name(POLICY_FILE).read_bytes())
    code = {"sha256": model_code_digest()}
    if entry_point is not None:
        code["entry_point"] = digest_of(entry_point)
    _write_if_changed(folder / CODE, msgspec.json.encode(code))
    _write_if_changed(folder / ENTRY_POINT, msgspec.json.encode(entry_point))
    _write_if_changed(folder / EVALUATION_CODE, msgspec.json.encode({"sha256": evaluation_code_digest()}))
    write_json(folder / RUN, run)
    _write_if_changed(folder / ".dvc" / "config", _config(settings))
    return folder


def params_of(training: TrainSettings) -> dict[str, Any]:
    """The parameters that a result depends on: all but the number of processes."""
    values: dict[str, Any] = msgspec.to_builtins(training)
    return {name: value for name, value in values.items() if name != "jobs"}


def default_training() -> TrainSettings:
    """The parameters as params.yaml in the checkout has them."""
    raw = yaml.safe_load((ROOT / PARAMS).read_text(encoding="utf-8"))
    return msgspec.convert(raw["train"], TrainSettings)


def read_training(folder: Path) -> TrainSettings:
    """The parameters of this run."""
    raw = yaml.safe_load((folder / PARAMS).read_text(encoding="utf-8"))
    return msgspec.structs.replace(msgspec.convert(raw["train"], TrainSettings), jobs=read_run(folder).jobs)


def read_entry_point(folder: Path) -> TrainingCode | None:
    """The training code of this run."""
    return msgspec.json.decode((folder / ENTRY_POINT).read_bytes(), type=TrainingCode | None)


def read_run(folder: Path) -> Run:
    """The options of this run."""
    return msgspec.json.decode((folder / RUN).read_bytes(), type=Run)


def model_code_digest() -> str:
    """sha256 over the code that makes a model, and the versions of its libraries."""
    return _digest(model_code_files(), [f"{name} {library_version(name)}" for name in LIBRARIES])


def evaluation_code_digest() -> str:
    """sha256 over the code that evaluates a model: another text in a report makes no new version of it."""
    return _digest(_files_of_rooms(EVALUATION_ROOMS), [])


def model_code_files() -> list[Path]:
    """The code that makes a model: its rooms with all that is below them, and their modules of core."""
    core = _folder(beacon_core)
    return [
        *_files_of_rooms(MODEL_ROOMS),
        *(core / name for name in CORE_MODULES),
        *(file for room in CORE_ROOMS for file in sorted((core / room).rglob("*.py"))),
    ]


def _files_of_rooms(rooms: tuple[str, ...]) -> list[Path]:
    return [file for room in rooms for file in sorted((_folder(beacon_retraining) / room).rglob("*.py"))]


def _folder(package: ModuleType) -> Path:
    return Path(str(package.__file__)).parent


def _digest(files: list[Path], extra_lines: list[str]) -> str:
    packages = [_folder(package).parent for package in (beacon_core, beacon_retraining)]
    names = [next(f.relative_to(p).as_posix() for p in packages if f.is_relative_to(p)) for f in files]
    lines = [f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for name, file in zip(names, files, strict=True)]
    return hashlib.sha256("\n".join([*lines, *extra_lines]).encode()).hexdigest()


def has_git() -> bool:
    """Whether this machine has git."""
    return shutil.which("git") is not None


def _config(settings: Settings) -> bytes:
    core = {"analytics": "false", "check_update": "false", "autostage": "true", "remote": "storage"}
    core |= {} if has_git() else {"no_scm": "true"}
    # Relative to this file as far as it goes: DVC expands what it takes for a variable in a path.
    address = settings.dvc_address if settings.dvc_remote or settings.files else "../../dvc-remote"
    # DVC trusts its cache by default.
    remote = {"url": address, "verify": "true"}
    return "\n".join([*ConfigObj({"core": core, 'remote "storage"': remote}).write(), ""]).encode()


def _write_if_changed(file: Path, content: bytes) -> None:
    if not file.is_file() or file.read_bytes() != content:
        write_atomically(file, content)
