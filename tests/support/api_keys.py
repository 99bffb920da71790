"""Files of API keys, as `beacon keys new` makes their entries."""

import json
from pathlib import Path
from typing import Any

from beacon_core.domain.api_keys import digest_of, new_key


def entry(name: str, key: str, *scopes: str, expires: str | None = None) -> dict[str, Any]:
    """An entry of the file."""
    found: dict[str, Any] = {"name": name, "sha256": digest_of(key.encode()).hex(), "scopes": list(scopes)}
    return found if expires is None else found | {"expires": expires}


def write_keys(file: Path, *entries: dict[str, Any]) -> Path:
    """Write a file of these entries, whole at once, as Kubernetes swaps a mounted Secret."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"keys": entries}), encoding="utf-8")
    return new.replace(file)


def keys_for(*scopes: str) -> dict[str, str]:
    """A new key for each scope, by the scope."""
    return {scope: new_key() for scope in scopes}
