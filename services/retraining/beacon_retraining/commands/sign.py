"""Sign the packages that are registered already: all that this store has a verdict on, or the versions that are named.

For packages from before signatures, and for a new key. Each is taken by the digest of its verdict, never by a tag of
MLflow, and gets a signature beside it, in MLflow and in the models folder.
Exit 0 done, 1 refused or one has no package any more, 75 try again later.
"""

import tempfile
from pathlib import Path

from beacon_core.data import verdicts
from beacon_core.data.database import mapped_errors, open_store
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.model_package.download import download_package
from beacon_core.model_package.manifest import PackageError
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.signature import DIGEST_ALONE, sign, sign_folder, signer_of
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_core.platform.signing_keys import SigningKey


def main(settings: Settings) -> int:
    """Sign them, one line each."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("version", nargs="*", help="default: all that have a verdict")
    given = parser.parse_args()
    key = signer_of(settings)
    if key is None:
        raise ConfigurationError(f"{settings.signing_key_file}: is not there; `beacon signing-keys new` makes one")
    name = load_product(settings.product).name
    with mapped_errors(), open_store(settings.database).connect() as connection:
        judged = verdicts.pins(connection, name)
    if unknown := sorted(set(given.version) - {pin.version for pin in judged}):
        raise ConfigurationError(f"version {unknown[0]} has no verdict here, so nothing says which package it is")
    wanted = [pin for pin in judged if not given.version or pin.version in given.version]
    signed = [_sign(settings, pin, key) for pin in wanted]
    return 0 if all(signed) else 1


def _sign(settings: Settings, pin: Pin, key: SigningKey) -> bool:
    from beacon_retraining.registry.register import Registry  # noqa: PLC0415 - MLflow's library takes seconds

    here = sign_folder(package_folder(settings.models_dir, pin), key, pin.sha256)
    registry = Registry(settings.mlflow_address)
    try:
        with tempfile.TemporaryDirectory() as folder:
            download_package(settings.mlflow_address, pin, Path(folder), DIGEST_ALONE)
        run_id = registry.origin(pin.name, pin.version).run_id
    except PackageError as error:
        results.say(f"version {pin.version}: not in MLflow: {message_of(error)}{'; signed here' if here else ''}")
        return here
    registry.add_signature(run_id, sign(key, pin.sha256))
    results.say(f"version {pin.version}: signed by key {key.id}")
    return True


def run() -> int:
    """Sign the packages that are registered already."""
    return run_command("sign", main)
