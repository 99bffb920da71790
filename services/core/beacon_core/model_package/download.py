"""Downloads a pinned model package from MLflow over HTTP, and verifies its signature and the digest of every file."""

import contextlib
from pathlib import Path

import msgspec

from beacon_core.domain.pins import Pin
from beacon_core.model_package.manifest import (
    MANIFEST_FILE,
    Manifest,
    Package,
    PackageError,
    check_file_name,
    digest,
)
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.signature import SIGNATURE_FILE, Trust, read_trusted
from beacon_core.platform.files import draft_folder_of
from beacon_core.platform.mlflow import Mlflow
from beacon_core.platform.settings import Settings

ARTIFACTS = "package"
"""The folder of a run's artifacts in which its package lies."""
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
"""The registry's aliases: of the model in service, the one that awaits promotion, and the one a rollback restores.

They are for people: anybody who may write to MLflow may move them, so nothing here is decided by one."""


def download_package(address: str, pin: Pin, models: Path, trust: Trust) -> Package:
    """Download the package of `pin` to `models`/NAME/VERSION, completely or not at all.

    Raises `PackageError` when the registry lacks it or has other bytes, or when `trust` misses a signature, and
    `RegistryUnavailableError` when it does not answer. No byte is parsed before signature and digest are checked.
    """
    mlflow = Mlflow(address)
    known = mlflow.version(pin.name, pin.version)
    if known is None:
        raise PackageError(f"{mlflow} has no {pin.name} {pin.version}")
    signature = mlflow.artifact(known.run_id, f"{ARTIFACTS}/{SIGNATURE_FILE}")
    trust.check(f"{pin.name} {pin.version}", pin.sha256, signature)
    content = _file(mlflow, known.run_id, MANIFEST_FILE, pin.sha256)
    try:
        files = msgspec.json.decode(content, type=Manifest).files
    except msgspec.DecodeError as error:
        raise PackageError(f"{MANIFEST_FILE}: {error}") from error
    folder = package_folder(models, pin)
    with draft_folder_of(folder) as draft:
        if signature is not None:
            (draft / SIGNATURE_FILE).write_bytes(signature)
        (draft / MANIFEST_FILE).write_bytes(content)
        for part, sha256 in files.items():
            check_file_name(part)
            (draft / part).write_bytes(_file(mlflow, known.run_id, part, sha256))
    return read_trusted(folder, pin.sha256, trust)


def find_or_download(address: str, pin: Pin, models: Path, trust: Trust) -> Package:
    """Find the package of `pin` in `models`, or download it there; raises as `download_package` does."""
    try:
        return read_trusted(package_folder(models, pin), pin.sha256, trust)
    except PackageError:
        return download_package(address, pin, models, trust)


def bring_package(settings: Settings, pin: Pin, trust: Trust) -> None:
    """Download the package of `pin` where no volume has the packages, as shared files are in S3.

    A package that MLflow lacks, or holds otherwise, is not brought. Raises `RegistryUnavailableError`.
    """
    if not settings.keeps_files:
        with contextlib.suppress(PackageError):
            find_or_download(settings.mlflow_address, pin, settings.models_dir, trust)


def _file(mlflow: Mlflow, run_id: str, name: str, sha256: str) -> bytes:
    content = mlflow.artifact(run_id, f"{ARTIFACTS}/{name}")
    if content is None:
        raise PackageError(f"{mlflow} has no {ARTIFACTS}/{name} of run {run_id or '(none)'}")
    if digest(content) != sha256:
        raise PackageError(f"{name}: {mlflow} holds other bytes than the pinned {sha256[:12]}")
    return content
