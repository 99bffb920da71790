"""The Secrets that services need, made where there are none, and the keys that sign models."""

import json
import secrets
from typing import Protocol

from beacon_core.data.roles import LOGINS, short_name
from beacon_core.platform.signing_keys import new_private_key, private_pem, public_of, public_pem

SECRET = "beacon"  # noqa: S105 - its name
SECRET_KEYS = ("postgresql-password", "redis-password", "feature-token", "console-token", "api-key")
DATABASE_SECRETS = tuple(f"beacon-database-{short_name(role)}" for role in LOGINS)
"""A Secret per role of the database, so that each service's can be replaced alone; its one key is `password`."""
MLFLOW_SECRETS = ("beacon-mlflow-reader", "beacon-mlflow-writer")
"""A Secret per login to MLflow, in the same form."""
SIGNING_SECRET, SIGNING_KEY = "beacon-model-signing", "model-signing.pem"
KEYS_CONFIG_MAP, KEYS_KEY = "beacon-model-keys", "model-keys.pem"
OWN = (SECRET, *DATABASE_SECRETS, *MLFLOW_SECRETS, SIGNING_SECRET)


class Kubectl(Protocol):
    """Kubectl on one namespace."""

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        """Run it; its output."""
        ...


class HalfAPairError(Exception):
    """One of the two objects with the keys is there, and the other is not; the message names them."""


def make_secrets(cluster: Kubectl) -> bool:
    """Make what is missing, with random passwords; whether the keys that sign models are new.

    Raises `HalfAPairError`.
    """
    wanted = {SECRET: SECRET_KEYS, **dict.fromkeys((*DATABASE_SECRETS, *MLFLOW_SECRETS), ("password",))}
    there = cluster.kubectl("get", "secret", *wanted, "-o", "name", "--ignore-not-found").split()
    for name, keys in wanted.items():
        if f"secret/{name}" not in there:
            _create(cluster, "Secret", name, "stringData", {key: secrets.token_hex(24) for key in keys})
    return _make_keys(cluster)


def remove_secrets(cluster: Kubectl) -> None:
    """Delete all of them."""
    cluster.kubectl("delete", "secret", *OWN, "--ignore-not-found")
    cluster.kubectl("delete", "configmap", KEYS_CONFIG_MAP, "--ignore-not-found")


def _make_keys(cluster: Kubectl) -> bool:
    named = (f"secret/{SIGNING_SECRET}", f"configmap/{KEYS_CONFIG_MAP}")
    there = cluster.kubectl("get", *named, "-o", "name", "--ignore-not-found").split()
    if len(there) == len(named):
        return False
    if there:
        (missing,) = set(named) - set(there)
        raise HalfAPairError(f"{there[0]} is there, and {missing} is not: the keys that sign models are a pair")
    key = new_private_key()
    _create(cluster, "Secret", SIGNING_SECRET, "stringData", {SIGNING_KEY: private_pem(key)})
    _create(cluster, "ConfigMap", KEYS_CONFIG_MAP, "data", {KEYS_KEY: public_pem([public_of(key.seed)])})
    return True


def _create(cluster: Kubectl, kind: str, name: str, field: str, content: dict[str, str]) -> None:
    """Create an object by standard input: a command line can be read by others."""
    made = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: content}
    cluster.kubectl("create", "-f", "-", given=json.dumps(made))
