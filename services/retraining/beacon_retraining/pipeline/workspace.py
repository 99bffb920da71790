"""The workspace: the folder in BEACON_HOME where the pipeline's files lie, apart from the checkout.

It is DVC's repository. dvc.yaml and params.yaml come from the checkout each time; what else the stages depend on
(product.yaml, the code) is brought in as files, so that DVC sees a change. Of policy.yaml only what the verdict
follows from is among them (dvc.yaml): any other limit lets every stage stand. Where there is git, the workspace has a
history of its own, one commit a run; in an image without git DVC does without.
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
from beacon_retraining.training.libraries import LIBRARIES
from beacon_retraining.training.settings import TrainSettings

PIPELINE, PARAMS, LOCK = "dvc.yaml", "params.yaml", "dvc.lock"
PRODUCT, CODE, JUDGE, RUN = "product.yaml", "code.json", "judge.json", "run.json"
VERSIONED = (PIPELINE, PARAMS, LOCK, PRODUCT, POLICY_FILE, CODE, JUDGE, ".dvc/config", ".gitignore")

MAKING = ("data", "training", "packaging")
JUDGING = ("evaluation",)
SHARED = (
    "domain/numbers.py",
    "domain/product.py",
    "domain/value_rules.py",
    "model_package/manifest.py",
    "platform/data_file.py",
)
STORE = "feature_store"
"""Rooms of this package, modules and a room of core: a model's code, and the code of the verdict on it."""


class Run(msgspec.Struct, frozen=True):
    """What one run was told; no result depends on it. `period` names the run in the store."""

    period: str
    trigger: str
    jobs: int = -1
    accept_shift: bool = False


def folder_of(settings: Settings) -> Path:
    """Where the workspace is."""
    return settings.home / "pipeline"


def prepare(settings: Settings, training: TrainSettings, run: Run) -> Path:
    """Bring the workspace up to the checkout and the parameters; a file whose content stays is left alone."""
    folder = folder_of(settings)
    folder.mkdir(parents=True, exist_ok=True)
    _put(folder / PIPELINE, (ROOT / PIPELINE).read_bytes())
    _put(folder / PARAMS, yaml.safe_dump({"train": params_of(training)}, sort_keys=False).encode())
    _put(folder / PRODUCT, settings.product.read_bytes())
    _put(folder / POLICY_FILE, settings.product.with_name(POLICY_FILE).read_bytes())
    _put(folder / CODE, msgspec.json.encode({"sha256": code_digest()}))
    _put(folder / JUDGE, msgspec.json.encode({"sha256": judging_digest()}))
    write_json(folder / RUN, run)
    _put(folder / ".dvc" / "config", _config(settings))
    return folder


def params_of(training: TrainSettings) -> dict[str, Any]:
    """The parameters that a result depends on; the number of processes is none."""
    values: dict[str, Any] = msgspec.to_builtins(training)
    return {name: value for name, value in values.items() if name != "jobs"}


def default_training() -> TrainSettings:
    """The parameters as params.yaml in the checkout has them."""
    raw = yaml.safe_load((ROOT / PARAMS).read_text(encoding="utf-8"))
    return msgspec.convert(raw["train"], TrainSettings)


def read_training(folder: Path) -> TrainSettings:
    """The parameters of the run at hand."""
    raw = yaml.safe_load((folder / PARAMS).read_text(encoding="utf-8"))
    return msgspec.structs.replace(msgspec.convert(raw["train"], TrainSettings), jobs=read_run(folder).jobs)


def read_run(folder: Path) -> Run:
    """What the run at hand was told."""
    return msgspec.json.decode((folder / RUN).read_bytes(), type=Run)


def code_digest() -> str:
    """sha256 over the code that makes a model, and the versions of the libraries that it leans on."""
    return _digest(making_files(), [f"{name} {library_version(name)}" for name in LIBRARIES])


def judging_digest() -> str:
    """sha256 over the code that judges a model: other words in a report make no new version of it."""
    return _digest(_of_rooms(JUDGING), [])


def making_files() -> list[Path]:
    """The code that makes a model: its rooms with all that is below them, and what they need of core."""
    core = _folder(beacon_core)
    return [*_of_rooms(MAKING), *(core / name for name in SHARED), *sorted((core / STORE).rglob("*.py"))]


def _of_rooms(rooms: tuple[str, ...]) -> list[Path]:
    return [file for room in rooms for file in sorted((_folder(beacon_retraining) / room).rglob("*.py"))]


def _folder(package: ModuleType) -> Path:
    return Path(str(package.__file__)).parent


def _digest(files: list[Path], facts: list[str]) -> str:
    packages = [_folder(package).parent for package in (beacon_core, beacon_retraining)]
    names = [next(f.relative_to(p).as_posix() for p in packages if f.is_relative_to(p)) for f in files]
    lines = [f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for name, file in zip(names, files, strict=True)]
    return hashlib.sha256("\n".join([*lines, *facts]).encode()).hexdigest()


def has_git() -> bool:
    """Whether this machine has git."""
    return shutil.which("git") is not None


def _config(settings: Settings) -> bytes:
    core = {"analytics": "false", "check_update": "false", "autostage": "true", "remote": "storage"}
    core |= {} if has_git() else {"no_scm": "true"}
    # Relative to this file as far as it goes: DVC expands what it takes for a variable in a path.
    address = "../../dvc-remote" if not settings.dvc_remote else settings.dvc_address
    # DVC trusts what lies in a cache unless told otherwise.
    remote = {"url": address, "verify": "true"}
    return "\n".join([*ConfigObj({"core": core, 'remote "storage"': remote}).write(), ""]).encode()


def _put(file: Path, content: bytes) -> None:
    if not file.is_file() or file.read_bytes() != content:
        write_atomically(file, content)
