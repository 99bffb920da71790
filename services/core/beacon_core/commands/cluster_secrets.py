"""The Secrets that an installation needs, and the pair of keys that signs its models, made of random content.

The names here are those of the installation `beacon`; another's begin with its own name.
"""

import secrets
from collections.abc import Collection
from typing import Any, Protocol

from beacon_core.data.roles import LOGINS, short_name
from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.platform.signing_keys import new_private_key, private_pem, public_of, public_pem

INSTALLATION = "beacon"
SECRET = INSTALLATION
SECRET_KEYS = ("postgresql-password", "redis-password", "feature-token", "console-token", "api-key")
DATABASE_SECRETS = tuple(f"beacon-database-{short_name(role)}" for role in LOGINS)
"""A Secret per role of the database, so that each service's can be replaced alone; its one key is `password`."""
MLFLOW_SECRETS = ("beacon-mlflow-reader", "beacon-mlflow-writer")
"""A Secret per login to MLflow, in the same form."""
SIGNING_SECRET, SIGNING_KEY = "beacon-model-signing", "model-signing.pem"
KEYS_CONFIG_MAP, KEYS_KEY = "beacon-model-keys", "model-keys.pem"
OWN = (SECRET, *DATABASE_SECRETS, *MLFLOW_SECRETS, SIGNING_SECRET)
PAIR = (("Secret", SIGNING_SECRET), ("ConfigMap", KEYS_CONFIG_MAP))
ApiObject = dict[str, Any]
Name = tuple[str, str]
"""Kind and name of an object."""


class Objects(Protocol):
    """The objects of one namespace."""

    def there(self, names: Collection[Name]) -> set[Name]:
        """Which of them there are."""
        ...

    def create(self, made: ApiObject) -> None:
        """Create one."""
        ...


class HalfAPairError(Exception):
    """One of the two objects with the keys is there, and the other is not; the message names them."""

    exit_status = REFUSED


def name_in(installation: str, name: str) -> str:
    """One of the names here as that installation has it."""
    return f"{installation}{name.removeprefix(INSTALLATION)}"


def wanted(installation: str = INSTALLATION) -> list[Name]:
    """All of them."""
    return [(kind, name_in(installation, name)) for kind, name in (*(("Secret", name) for name in OWN), PAIR[1])]


def make_missing(objects: Objects, installation: str = INSTALLATION) -> set[Name]:
    """Make what is missing; returns what was. Raises `HalfAPairError` before it makes anything."""
    everything = wanted(installation)
    missing = set(everything) - objects.there(everything)
    pair = {(kind, name_in(installation, name)) for kind, name in PAIR}
    if len(lost := missing & pair) == 1:
        (kept,) = pair - lost
        (gone,) = lost
        raise HalfAPairError(f"{_path(kept)} is there, and {_path(gone)} is not: the keys that sign models are a pair")
    own_keys = {SECRET: SECRET_KEYS, **dict.fromkeys((*DATABASE_SECRETS, *MLFLOW_SECRETS), ("password",))}

    def create(kind: str, name: str, field: str, content: dict[str, str]) -> None:
        labels = {"app.kubernetes.io/part-of": installation}
        metadata = {"name": name_in(installation, name), "labels": labels}
        objects.create({"apiVersion": "v1", "kind": kind, "metadata": metadata, field: content})

    for name, keys in own_keys.items():
        if ("Secret", name_in(installation, name)) in missing:
            create("Secret", name, "stringData", {key: secrets.token_hex(24) for key in keys})
    if missing & pair:
        key = new_private_key()
        create("Secret", SIGNING_SECRET, "stringData", {SIGNING_KEY: private_pem(key)})
        create("ConfigMap", KEYS_CONFIG_MAP, "data", {KEYS_KEY: public_pem([public_of(key.seed)])})
    return missing


def _path(name: Name) -> str:
    return f"{name[0].lower()}/{name[1]}"
