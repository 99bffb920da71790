"""Which file MODEL names, and of what kind it is: told by its first bytes, never by its name."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from beacon_core.domain.yaml_text import YamlError, parse_yaml
from beacon_retraining.errors import ForeignModelError, naming
from beacon_retraining.packaging.conversion.graph_checks import check_size
from beacon_retraining.registry.register import Registry

Kind = Literal["onnx", "lightgbm", "xgboost", "catboost", "pickle"]
URIS = ("runs:/", "models:/")
ML_MODEL = "MLmodel"
FLAVOURS = {"onnx": "data", "lightgbm": "data", "xgboost": "data", "catboost": "data", "sklearn": "pickled_model"}
"""MLflow's flavours that are understood, and the key that names the file."""
MOST_FILE_BYTES = 1_000_000_000
HEAD_BYTES = 64
PICKLES = (b"\x80", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x04\x22\x4d\x18")
"""How pickle and joblib's compressed pickles begin."""
OTHERS = {b"PK": "a zip (skops, PyTorch or Keras)", b"{": "JSON of another library", b"\x89HDF": "HDF5 (Keras)"}
"""How files begin that people may take for a known one."""
FORMATS = "ONNX, LightGBM's text, XGBoost's JSON or UBJSON, CatBoost's cbm, pickle and joblib are known"
UNPICKLE = (
    "to load a pickle runs code of whoever wrote it: give --trust-pickle where you trust it (it runs in a process of "
    "its own, without this one's environment and with limits), or save the model in its library's own format "
    "(booster.save_model, model.save_model) or as ONNX (skl2onnx.to_onnx)"
)


class ModelFile(NamedTuple):
    """A model's file and its kind; `name` is what messages call it."""

    path: Path
    kind: Kind
    name: str


@contextmanager
def open_model(place: str, registry: Registry) -> Iterator[ModelFile]:
    """The file that MODEL names, for the length of the block: of this machine, or brought from MLflow.

    Raises `ForeignModelError`, and the registry's errors for a URI.
    """
    if place.startswith(URIS):
        with tempfile.TemporaryDirectory() as folder:
            yield find_file(registry.bring(place, Path(folder)), place)
    else:
        yield find_file(Path(place), place)


def find_file(path: Path, name: str) -> ModelFile:
    """The model's file at `path`, which may be a folder that MLflow wrote; raises `ForeignModelError`."""
    if path.is_dir():
        path = _of_folder(path, name)
        name = f"{name}/{path.name}"
    if not path.is_file():
        raise ForeignModelError(
            f"{name}: is no file or folder here; MLflow's are called runs:/ID/PATH or models:/NAME/VERSION"
        )
    size = path.stat().st_size
    if size > MOST_FILE_BYTES:
        raise ForeignModelError(f"{name}: has {size / 1e6:,.0f} MB, at most {MOST_FILE_BYTES / 1e6:,.0f} MB may be")
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES), name)
    if kind == "onnx":
        with naming(name):
            check_size(size)
    return ModelFile(path, kind, name)


def kind_of(head: bytes, name: str) -> Kind:
    """The kind of a file that begins with `head`; raises `ForeignModelError` for none that is known."""
    if not head:
        raise ForeignModelError(f"{name}: is empty")
    if head.startswith(b"CBM1"):
        return "catboost"
    if head.startswith((b"tree\n", b"tree\r\n")):
        return "lightgbm"
    if head.startswith(b"{L") or (head.lstrip().startswith(b"{") and b'"learner"' in head):
        return "xgboost"
    if head.startswith(PICKLES):
        return "pickle"
    if head[:1] == b"\x08":  # a protobuf whose first field is the IR version
        return "onnx"
    what = next((text for start, text in OTHERS.items() if head.startswith(start)), "none of them")
    raise ForeignModelError(f"{name}: is no model of a known format: {FORMATS}, this is {what}; export it as ONNX")


def _of_folder(folder: Path, name: str) -> Path:
    """The file of a folder that MLflow wrote."""
    description = folder / ML_MODEL
    if not description.is_file():
        raise ForeignModelError(f"{name}: is a folder without MLflow's file {ML_MODEL}; name the model's file itself")
    try:
        flavours = _mapping(parse_yaml(description.read_bytes())).get("flavors")
    except YamlError as error:
        raise ForeignModelError(f"{name}/{ML_MODEL}: {error}") from error
    found = {flavour: key for flavour, key in FLAVOURS.items() if flavour in _mapping(flavours)}
    if not found:
        known, given = ", ".join(FLAVOURS), ", ".join(_mapping(flavours)) or "none"
        raise ForeignModelError(f"{name}/{ML_MODEL}: has the flavours {given}; {known} are understood")
    flavour, key = next(iter(found.items()))
    part = _mapping(_mapping(flavours)[flavour]).get(key)
    if not isinstance(part, str) or not (folder / part).resolve().is_relative_to(folder.resolve()):
        raise ForeignModelError(
            f"{name}/{ML_MODEL}: flavors.{flavour}.{key}: must be a file in the folder, is {part!r}"
        )
    return folder / part


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
