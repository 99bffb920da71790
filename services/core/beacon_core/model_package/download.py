"""Downloads a pinned model package from MLflow over plain HTTP, and verifies the digest of every file."""

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
    read_package,
)
from beacon_core.model_package.release import package_folder
from beacon_core.platform.files import draft_folder_of
from beacon_core.platform.mlflow import Mlflow

ARTIFACTS = "package"
"""The folder of a run's artifacts in which its package lies."""
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
"""The registry's aliases: of the model in service, the one that awaits promotion, and the one a rollback restores."""


class ForeignVersionError(PackageError):
    """A version that Beacon did not register, so that no digest pins its package."""


def download_package(address: str, pin: Pin, models: Path) -> Package:
    """Download the package of `pin` to `models`/NAME/VERSION, completely or not at all.

    Raises `PackageError` when the registry lacks it or has other bytes, and `RegistryUnavailableError` when it
    does not answer.
    """
    mlflow = Mlflow(address)
    known = mlflow.version(pin.name, pin.version)
    if known is None:
        raise PackageError(f"{mlflow} has no {pin.name} {pin.version}")
    content = _file(mlflow, known.run_id, MANIFEST_FILE, pin.sha256)
    try:
        files = msgspec.json.decode(content, type=Manifest).files
    except msgspec.DecodeError as error:
        raise PackageError(f"{MANIFEST_FILE}: {error}") from error
    folder = package_folder(models, pin)
    with draft_folder_of(folder) as draft:
        (draft / MANIFEST_FILE).write_bytes(content)
        for part, sha256 in files.items():
            check_file_name(part)
            (draft / part).write_bytes(_file(mlflow, known.run_id, part, sha256))
    return read_package(folder, pin.sha256)


def find_or_download(address: str, pin: Pin, models: Path) -> Package:
    """Find the package of `pin` in `models`, or download it there; raises as `download_package` does."""
    try:
        return read_package(package_folder(models, pin), pin.sha256)
    except PackageError:
        return download_package(address, pin, models)


def pinned_at(mlflow: Mlflow, name: str, alias: str) -> Pin | None:
    """The version with this alias, pinned by the digest that it was registered with; None where there is none.

    Raises `ForeignVersionError` for a version that Beacon did not register, and `RegistryUnavailableError` when
    MLflow does not answer.
    """
    found = mlflow.version_at(name, alias)
    if found is None:
        return None
    if not found.sha256:
        raise ForeignVersionError(
            f"version {found.number} of {name} is {alias} in MLflow, but Beacon did not register it (no tag sha256)"
        )
    return Pin(name, found.number, found.sha256)


def _file(mlflow: Mlflow, run_id: str, name: str, sha256: str) -> bytes:
    content = mlflow.artifact(run_id, f"{ARTIFACTS}/{name}")
    if content is None:
        raise PackageError(f"{mlflow} has no {ARTIFACTS}/{name} of run {run_id or '(none)'}")
    if digest(content) != sha256:
        raise PackageError(f"{name}: {mlflow} holds other bytes than the pinned {sha256[:12]}")
    return content
