"""The versions that the registry lists, over plain HTTP: what a stage asks that registers nothing.

MLflow's own library takes seconds to load, so only `register` does.
"""

from beacon_core.domain.pins import Pin
from beacon_core.platform.mlflow import Mlflow, Version

HIGHEST_TAG = "beacon.highest-version"
"""On the registered model: the highest number that MLflow ever gave, also to a version that was deleted since."""


class ListedVersions:
    """The versions on MLflow's server at `address`. Methods raise `RegistryUnavailableError`."""

    def __init__(self, address: str) -> None:
        self.mlflow = Mlflow(address)

    def next_version(self, name: str, above: int = 0) -> str:
        """The number for the next version of `name`: above `above` and all numbers that the registry has given.

        It does not list deleted versions, and never gives their numbers again.
        """
        listed = [int(version.number) for version in self.mlflow.versions(f"name = '{name}'")]
        return str(max([above, self._highest(name), *listed]) + 1)

    def versions_of(self, name: str, run_key: str) -> list[Pin]:
        """The versions of equal inputs whose run still exists, the newest first."""
        return [
            Pin(name, version.number, version.sha256)
            for version in self.tagged(name, "run_key", run_key)
            if version.sha256 and self.mlflow.has_run(version.run_id)
        ]

    def tagged(self, name: str, tag: str, value: str) -> list[Version]:
        """The versions that have the tag, the newest first."""
        found = self.mlflow.versions(f"name = '{name}' and tags.`{tag}` = '{value}'")
        return sorted(found, key=lambda version: -int(version.number))

    def _highest(self, name: str) -> int:
        """The highest number that the registered model's tag holds; 0 where there is none."""
        text = self.mlflow.model_tags(name).get(HIGHEST_TAG, "")
        return int(text) if text.isdecimal() else 0
