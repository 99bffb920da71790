"""Model versions in MLflow: facts and files over HTTP, every byte checked by the package's signature and digest."""

from typing import NamedTuple

import msgspec

from beacon_core.model_package.download import ARTIFACTS
from beacon_core.model_package.manifest import CARD_FILE, EFFECTS_FILE, MANIFEST_FILE, Manifest, digest
from beacon_core.model_package.signature import DIGEST_ALONE, SIGNATURE_FILE, SignatureError, Trust
from beacon_core.platform.mlflow import Mlflow, Version

TIMEOUT_SECONDS = 2.0
MOST_KEPT = 4
"""Manifests that are kept: of the version in service, and of a few before it."""


class RegisteredVersion(NamedTuple):
    """A version as MLflow has it. `manifest` and `card` are None, and `damage` says why, where a digest disagrees."""

    version: str
    aliases: tuple[str, ...]
    run_id: str
    tags: dict[str, str]
    manifest: Manifest | None
    card: str | None
    damage: str | None


class Registry:
    """MLflow's server at `address`; what `trust` misses a signature of is not parsed."""

    def __init__(self, address: str, trust: Trust = DIGEST_ALONE) -> None:
        self._mlflow = Mlflow(address, TIMEOUT_SECONDS)
        self._trust = trust
        self._manifests: dict[str, Manifest] = {}

    def find(self, name: str, version: str) -> RegisteredVersion | None:
        """Look a version up; None when MLflow has none (any more). Raises `RegistryUnavailableError`."""
        found = self._mlflow.version(name, version)
        if found is None:
            return None
        aliases = tuple(alias for alias, number in self._mlflow.aliases(name).items() if number == version)
        manifest, card, damage = self._package(found)
        return RegisteredVersion(version, aliases, found.run_id, found.tags, manifest, card, damage)

    def manifest(self, name: str, version: str, sha256: str) -> Manifest | None:
        """The manifest of the package with this digest, read once; None where MLflow does not have it (any more).

        Raises `RegistryUnavailableError`.
        """
        if sha256 not in self._manifests:
            found = self._mlflow.version(name, version)
            manifest = None if found is None or found.sha256 != sha256 else self._package(found)[0]
            if manifest is None:
                return None
            if len(self._manifests) >= MOST_KEPT:
                self._manifests.clear()
            self._manifests[sha256] = manifest
        return self._manifests[sha256]

    def picture(self, name: str, version: str) -> bytes | None:
        """The picture of the version's effects; None without one that was registered.

        Raises `RegistryUnavailableError`.
        """
        found = self._mlflow.version(name, version)
        manifest = None if found is None else self._package(found)[0]
        if found is None or manifest is None or EFFECTS_FILE not in manifest.files:
            return None
        content = self._file(found, EFFECTS_FILE)
        return content if content is not None and digest(content) == manifest.files[EFFECTS_FILE] else None

    def _package(self, version: Version) -> tuple[Manifest | None, str | None, str | None]:
        if not version.sha256:
            return None, None, "It was not registered by Beacon: it has no tag sha256"
        try:
            self._trust.check(f"Version {version.number}", version.sha256, self._file(version, SIGNATURE_FILE))
        except SignatureError as error:
            return None, None, str(error)
        content = self._file(version, MANIFEST_FILE)
        if content is None:
            return None, None, f"{MANIFEST_FILE} is not among its files"
        if digest(content) != version.sha256:
            return None, None, f"{MANIFEST_FILE} is not the one that was registered: its digest differs"
        try:
            manifest = msgspec.json.decode(content, type=Manifest)
        except msgspec.DecodeError as error:
            return None, None, f"{MANIFEST_FILE}: {error}"
        card = self._file(version, CARD_FILE)
        if card is None or digest(card) != manifest.files.get(CARD_FILE):
            return manifest, None, f"{CARD_FILE} is missing, or not the one that was registered"
        return manifest, card.decode("utf-8", "replace"), None

    def _file(self, version: Version, name: str) -> bytes | None:
        return self._mlflow.artifact(version.run_id, f"{ARTIFACTS}/{name}")
