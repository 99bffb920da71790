"""The model package: what retraining hands to inference, and the checks that both sides make.

A package is a folder of `model.onnx`, `manifest.json`, `reference.profile`, `MODEL_CARD.md` with its picture
`effects.svg`, and `explanation.npz`, and of `batch.onnx` where the model has a form for batches. Its digest is the
sha256 of manifest.json, which holds the sha256 of every other file, so one digest pins every byte.
"""

import hashlib
from pathlib import Path

import msgspec

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.schema import Schema
from beacon_core.domain.value_rules import Level
from beacon_core.model_package.recipe import Recipe

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
BATCH_FILE = "batch.onnx"
EXPLANATION_FILE = "explanation.npz"
PROFILE_FILE = "reference.profile"
CARD_FILE = "MODEL_CARD.md"
EFFECTS_FILE = "effects.svg"
MANIFEST_VERSION = 1


class PackageError(ValueError):
    """The package is damaged, not the pinned one, or does not fit the product; the message names file and cause."""

    exit_status = REFUSED


class ManifestPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every part of the manifest: immutable, unknown keys refused."""


class FeatureFacts(ManifestPart, frozen=True):
    """One feature: its range and quantiles in training, and the value `fill` for a missing one.

    `quantiles` are the training values at 0.01, 0.05, 0.25, 0.5, 0.75, 0.95 and 0.99. `levels` are those of a
    category of text in training: a level's number is its position in this list.
    """

    name: str
    fill: float
    min: float
    max: float
    quantiles: tuple[float, float, float, float, float, float, float]
    importance: float
    levels: tuple[Level, ...] | None = None


class Interval(ManifestPart, frozen=True):
    """Conformal interval: prediction - low * spread to prediction + high * spread holds the target at `coverage`.

    The spread is the graph's second output where `follows_row`, about 1 on average, and else 1.
    `measured_coverage` was counted on rows that neither fitted the model nor set the interval.
    """

    method: str
    coverage: float
    low: float
    high: float
    measured_coverage: float
    follows_row: bool = False


class Score(ManifestPart, frozen=True):
    """A figure and how it was measured; `value` is in the target's unit (R2 has none)."""

    name: str
    value: float
    how: str


class GoldenRequest(ManifestPart, frozen=True):
    """A complete row (feature order of the manifest), and the answer and its spread that the model must give to it."""

    row: tuple[float, ...]
    prediction: float
    spread: float = 1.0


class TrainingData(ManifestPart, frozen=True):
    """What the model was trained on; `fingerprint` is the sha256 of the training rows in canonical form."""

    source: str
    fingerprint: str
    rows: int


class Manifest(ManifestPart, frozen=True):
    """The content of manifest.json; answers are rounded to `decimals`.

    Quantiles of the training target and of the predictions are at the same shares as those of the features. `recipe`
    fits the model again; None for a model that Beacon did not train.
    """

    manifest_version: int
    product: str
    version: str
    created_at: str
    schema: Schema
    features: tuple[FeatureFacts, ...]
    decimals: int
    target_quantiles: tuple[float, float, float, float, float, float, float]
    prediction_min: float
    prediction_max: float
    prediction_quantiles: tuple[float, ...]
    interval: Interval
    expected_absolute_error: float
    scores: tuple[Score, ...]
    algorithm: str
    data: TrainingData
    revision: str
    libraries: dict[str, str]
    golden: tuple[GoldenRequest, ...]
    golden_tolerance: float
    files: dict[str, str]
    recipe: Recipe | None = None


class Package(msgspec.Struct, frozen=True):
    """A verified package: the manifest, the model's bytes exactly as digested, and the package digest.

    `batch` is the model's form for batches, None where it has none, and so is `explanation`: the model taken apart.
    """

    folder: Path
    manifest: Manifest
    model: bytes
    sha256: str
    batch: bytes | None = None
    explanation: bytes | None = None


def digest(content: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(content).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Write manifest.json into `folder` and return the package digest."""
    content = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2)
    (folder / MANIFEST_FILE).write_bytes(content)
    return digest(content)


def read_package(folder: Path, sha256: str) -> Package:
    """Verify every digest, then parse; raises `PackageError`. No byte is parsed before its digest is checked."""
    manifest_bytes = _read(folder, MANIFEST_FILE, sha256)
    try:
        manifest = msgspec.json.decode(manifest_bytes, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PackageError(f"{MANIFEST_FILE}: {error}") from error
    if manifest.manifest_version != MANIFEST_VERSION:
        raise PackageError(f"{MANIFEST_FILE}: version {manifest.manifest_version}, this build reads {MANIFEST_VERSION}")
    if MODEL_FILE not in manifest.files:
        raise PackageError(f"{MANIFEST_FILE}: files: does not list {MODEL_FILE}")
    contents = {name: _read(folder, name, wanted) for name, wanted in manifest.files.items()}
    return Package(
        folder, manifest, contents[MODEL_FILE], sha256, contents.get(BATCH_FILE), contents.get(EXPLANATION_FILE)
    )


def check_file_name(name: str) -> None:
    """Refuse a name that leads out of the package's folder, or into another one; raises `PackageError`."""
    if Path(name).name != name or "\0" in name:
        raise PackageError(f"{name!r}: a package must not contain folders")


def _read(folder: Path, name: str, wanted: str) -> bytes:
    check_file_name(name)
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise PackageError(f"{folder.name}/{name}: {error.strerror}") from error
    actual = digest(content)
    if actual != wanted:
        raise PackageError(f"{folder.name}/{name}: sha256 is {actual}, expected {wanted}")
    return content
