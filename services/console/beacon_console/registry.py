"""Model versions in MLflow: facts and files over plain HTTP, every byte checked against the package's digest."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

import msgspec

from beacon_core.manifest import CARD_FILE, MANIFEST_FILE, Manifest, digest

TIMEOUT_SECONDS = 2.0
PACKAGE = "package"


class RegistryDown(Exception):  # noqa: N818 - a state of the world, shown on the page
    """MLflow does not answer, or answers with nonsense; the message says which."""


class Registered(NamedTuple):
    """A version as MLflow has it. `manifest` and `card` are None, and `damage` says why, where a digest disagrees."""

    version: str
    aliases: tuple[str, ...]
    run_id: str
    tags: dict[str, str]
    manifest: Manifest | None
    card: str | None
    damage: str | None


class Registry:
    """MLflow's server at `address`."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def find(self, name: str, version: str) -> Registered | None:
        """Look a version up; None when MLflow has none. Raises RegistryDown."""
        found = self._json("/api/2.0/mlflow/model-versions/get", name=name, version=version)
        if found is None:
            return None
        facts = found["model_version"]
        model = (self._json("/api/2.0/mlflow/registered-models/get", name=name) or {}).get("registered_model", {})
        tags = {tag["key"]: tag["value"] for tag in facts.get("tags", [])}
        aliases = tuple(item["alias"] for item in model.get("aliases", []) if item["version"] == version)
        run_id = facts.get("run_id", "")
        manifest, card, damage = self._package(run_id, tags.get("sha256", ""))
        return Registered(version, aliases, run_id, tags, manifest, card, damage)

    def _package(self, run_id: str, sha256: str) -> tuple[Manifest | None, str | None, str | None]:
        content = self._file(run_id, MANIFEST_FILE)
        if content is None:
            return None, None, f"{MANIFEST_FILE} is not among its files"
        if digest(content) != sha256:
            return None, None, f"{MANIFEST_FILE} is not the one that was registered: its digest differs"
        try:
            manifest = msgspec.json.decode(content, type=Manifest)
        except msgspec.DecodeError as error:
            return None, None, f"{MANIFEST_FILE}: {error}"
        card = self._file(run_id, CARD_FILE)
        if card is None or digest(card) != manifest.files.get(CARD_FILE):
            return manifest, None, f"{CARD_FILE} is missing, or not the one that was registered"
        return manifest, card.decode("utf-8", "replace"), None

    def _file(self, run_id: str, name: str) -> bytes | None:
        return self._get("/get-artifact", {"path": f"{PACKAGE}/{name}", "run_uuid": run_id})

    def _json(self, path: str, **query: str) -> dict[str, Any] | None:
        content = self._get(path, query)
        if content is None:
            return None
        try:
            found = json.loads(content)
        except ValueError as error:
            raise RegistryDown(f"MLflow at {self.address} answers with no JSON") from error
        return found if isinstance(found, dict) else None

    def _get(self, path: str, query: dict[str, str]) -> bytes | None:
        """GET; None for 404."""
        url = f"{self.address}{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the operator's address
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise RegistryDown(f"MLflow at {self.address} answers with status {error.code}") from error
        except (OSError, ValueError) as error:
            raise RegistryDown(f"MLflow at {self.address} does not answer") from error
