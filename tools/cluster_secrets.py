"""The Secrets that services need, made by kubectl where there are none, and removed."""

import json
from collections.abc import Collection
from typing import Protocol

from beacon_core.commands.cluster_secrets import KEYS_CONFIG_MAP, OWN, PAIR, ApiObject, Name, make_missing


class Kubectl(Protocol):
    """Kubectl on one namespace."""

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        """Run it; its output."""
        ...


class _Objects:
    """The namespace's objects by kubectl."""

    def __init__(self, cluster: Kubectl) -> None:
        self._cluster = cluster

    def there(self, names: Collection[Name]) -> set[Name]:
        """Which of them there are."""
        paths = {f"{kind.lower()}/{name}": (kind, name) for kind, name in names}
        found = self._cluster.kubectl("get", *paths, "-o", "name", "--ignore-not-found").split()
        return {paths[path] for path in found}

    def create(self, made: ApiObject) -> None:
        """Create one by standard input: a command line can be read by others."""
        self._cluster.kubectl("create", "-f", "-", given=json.dumps(made))


def make_secrets(cluster: Kubectl) -> bool:
    """Make what is missing, with random passwords; whether the keys that sign models are new.

    Raises `HalfAPairError`.
    """
    return PAIR[0] in make_missing(_Objects(cluster))


def remove_secrets(cluster: Kubectl) -> None:
    """Delete all of them."""
    cluster.kubectl("delete", "secret", *OWN, "--ignore-not-found")
    cluster.kubectl("delete", "configmap", KEYS_CONFIG_MAP, "--ignore-not-found")
