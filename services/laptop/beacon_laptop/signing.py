"""A laptop's own pair of keys of model signatures, made on first use."""

import contextlib

from beacon_core.data import verdicts
from beacon_core.data.database import DatabaseUnavailableError, mapped_errors, open_store
from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import package_folder, read_release
from beacon_core.model_package.signature import sign_folder
from beacon_core.platform.settings import Settings
from beacon_core.platform.signing_keys import write_key_pair
from beacon_laptop.reporter import report


def prepare_keys(settings: Settings, product: str) -> None:
    """Make the pair in the state folder where there is none, the settings name no other, and MLflow is this machine's.

    In a registry that others write to, too, their packages would be signed by keys that nobody here knows.

    What this machine has made before is signed then: the packages that the release file or a verdict of the store pins.
    """
    private, public = settings.signing_key_file, settings.trusted_keys_file
    named = settings.model_keys_file, settings.model_signing_key_file, settings.mlflow_url or None
    own = all(each is None for each in named)
    if not own or private.exists() or public.exists():
        return
    key = write_key_pair(private, public)
    signed = [
        pin
        for pin in _known(settings, product)
        if sign_folder(package_folder(settings.models_dir, pin), key, pin.sha256)
    ]
    more = f", and {len(signed)} packages are signed by it" if signed else ""
    report(f"beacon: key {key.id} signs models from now on{more} ({private})")


def _known(settings: Settings, product: str) -> set[Pin]:
    found: set[Pin] = set()
    if settings.release_file.exists():
        release = read_release(settings.release_file)
        found |= {pin for pin in (release.model, release.shadow) if pin is not None}
    with (
        contextlib.suppress(DatabaseUnavailableError),
        mapped_errors(),
        open_store(settings.database).connect() as connection,
    ):
        found |= set(verdicts.pins(connection, product))
    return found
