"""The workspace: the folder in BEACON_HOME where the pipeline's files lie, apart from the checkout.

It is DVC's repository. dvc.yaml and params.yaml come from the checkout each time; what else the stages depend on
(product.yaml, the code) is brought in as files, so that DVC sees a change. Where there is git, the workspace has a
history of its own, one commit a run; in an image without git DVC does without.
"""

import hashlib
import shutil
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import msgspec
import yaml
from configobj import ConfigObj

import beacon_core.domain.numbers
import beacon_core.manifest
import beacon_core.platform.data_file
import beacon_core.product
import beacon_core.value_rules
import feature_repo
from beacon_core.settings import ROOT, Settings
from beacon_retrain.files import write_bytes, write_json
from beacon_retrain.training import TrainSettings

LIBRARIES = ("scikit-learn", "numpy", "onnx", "onnxruntime")
"""What a model follows from, beside our own code."""
PIPELINE, PARAMS, LOCK = "dvc.yaml", "params.yaml", "dvc.lock"
PRODUCT, CODE, RUN = "product.yaml", "code.json", "run.json"
VERSIONED = (PIPELINE, PARAMS, LOCK, PRODUCT, CODE, ".dvc/config", ".gitignore")


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
    _put(folder / CODE, msgspec.json.encode({"sha256": code_digest()}))
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
    own = sorted(Path(__file__).parent.glob("*.py"))
    core = beacon_core
    modules = (core.domain.numbers, core.manifest, core.platform.data_file, core.product, core.value_rules)
    shared = [Path(str(module.__file__)) for module in modules]
    shared += sorted(Path(str(feature_repo.__file__)).parent.glob("*.py"))
    facts = [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in (*own, *shared)]
    facts += [f"{name} {library_version(name)}" for name in LIBRARIES]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


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
        write_bytes(file, content)
