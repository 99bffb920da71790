"""Fetch the packages that the release file pins to BEACON_HOME/models. Exit 0 done, 1 refused, 75 try again later."""

from functools import partial
from pathlib import Path

from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.model_package.download import download_package
from beacon_core.model_package.manifest import Package, PackageError
from beacon_core.model_package.release import is_empty, package_folder, read_release
from beacon_core.model_package.signature import SignatureError, Trust, read_trusted, trust_of
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.files import draft_folder_of
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_core.platform.retry import until_up
from beacon_core.platform.settings import Settings, load_settings

WAIT_SECONDS = 60.0


@map_errors("the model cannot be fetched", "the model cannot be fetched now, try again")
def main() -> int:
    """Fetch the champion, and the shadow if there is one; a shadow that cannot be fetched is only logged."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="a folder of packages that is searched before MLflow")
    given = parser.parse_args()
    settings = load_settings()
    if is_empty(settings.release_file):
        log.info("no model is released yet: there is nothing to fetch")
        return 0
    release = read_release(settings.release_file)
    log.info(fetch(settings, release.model, given.cache))
    if release.shadow is not None:
        try:
            log.info(fetch(settings, release.shadow, given.cache))
        except (RegistryUnavailableError, PackageError, OSError) as error:
            log.error("the shadow model cannot be fetched: %s", message_of(error))
    return 0


def fetch(settings: Settings, pin: Pin, cache: Path | None) -> str:
    """Fetch one package from the cache, else from MLflow, and verify it; returns a message that names the source.

    Raises `PackageError`, and `RegistryUnavailableError` when MLflow does not answer for `WAIT_SECONDS`.
    """
    trust = trust_of(settings)
    for models, place in ((settings.models_dir, "already present"), (cache, "from the cache")):
        if models is not None and (package := _read(models, pin, trust)) is not None:
            if models != settings.models_dir:
                _copy(package, settings.models_dir, pin)
            return f"{pin.name} version {pin.version}: {place}"
    download = partial(download_package, settings.mlflow_address, pin, settings.models_dir, trust)
    until_up(download, WAIT_SECONDS, (RegistryUnavailableError,))
    return f"{pin.name} version {pin.version}: from {settings.mlflow_address}"


def _read(models: Path, pin: Pin, trust: Trust) -> Package | None:
    try:
        return read_trusted(package_folder(models, pin), pin.sha256, trust)
    except SignatureError as error:
        log.warning("%s: %s", models, message_of(error))  # it may have been signed since, and lie in MLflow
        return None
    except PackageError:
        return None


def _copy(package: Package, models: Path, pin: Pin) -> None:
    with draft_folder_of(package_folder(models, pin)) as draft:
        for file in package.folder.iterdir():
            (draft / file.name).write_bytes(file.read_bytes())


def run() -> int:
    """Fetch the packages that the release file pins."""
    return run_job("fetch-model", main)
