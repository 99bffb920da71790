"""Bring a pinned model package from MLflow over plain HTTP; no byte is kept whose digest is not the pinned one."""

import http.client
import json
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from beacon_core.manifest import MANIFEST_FILE, Manifest, Package, PackageError, digest, read_package
from beacon_core.release import Pin, package_folder

TIMEOUT_SECONDS = 10.0


class RegistryDown(RuntimeError):  # noqa: N818 - a state of the world, not a mistake
    """MLflow does not answer; trying again may help."""


def bring(address: str, pin: Pin, models: Path) -> Package:
    """Download the package of `pin` to `models`/NAME/VERSION, whole or not at all.

    Raises `PackageError` when the registry lacks it or holds other bytes, `RegistryDown` when it does not answer.
    """
    known = _get(address, "/api/2.0/mlflow/model-versions/get", name=pin.name, version=pin.version)
    run_id = _run_id(known, address)
    content = _file(address, run_id, MANIFEST_FILE, pin.sha256)
    try:
        files = msgspec.json.decode(content, type=Manifest).files
    except msgspec.DecodeError as error:
        raise PackageError(f"{MANIFEST_FILE}: {error}") from error
    folder = package_folder(models, pin)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder.parent) as name:
        draft = Path(name) / pin.version
        draft.mkdir()
        (draft / MANIFEST_FILE).write_bytes(content)
        for part, sha256 in files.items():
            if Path(part).name != part:
                raise PackageError(f"{part!r}: a package holds no folders")
            (draft / part).write_bytes(_file(address, run_id, part, sha256))
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    return read_package(folder, pin.sha256)


def champion(address: str, name: str) -> Pin | None:
    """The registry's champion of `name`, pinned by the digest that it was registered with; None where there is none.

    Raises `RegistryDown` when MLflow does not answer.
    """
    url = f"/api/2.0/mlflow/registered-models/alias?{urllib.parse.urlencode({'name': name, 'alias': 'champion'})}"
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}{url}", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            found = json.load(answer)["model_version"]
            tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
            return Pin(name, str(found["version"]), tags["sha256"])
    except urllib.error.HTTPError as error:
        if 400 <= error.code < 500:  # 400 for an alias that is not there, 404 for the model
            return None
        raise RegistryDown(f"MLflow at {address} answers with status {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise RegistryDown(f"MLflow at {address} does not answer: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryDown(f"MLflow at {address} answers with something else than a model version") from error


def _run_id(content: bytes, address: str) -> str:
    try:
        answer: dict[str, Any] = json.loads(content)
        return str(answer["model_version"]["run_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryDown(f"MLflow at {address} answers with something else than a model version") from error


def _file(address: str, run_id: str, name: str, sha256: str) -> bytes:
    content = _get(address, "/get-artifact", path=f"package/{name}", run_uuid=run_id)
    if digest(content) != sha256:
        raise PackageError(f"{name}: MLflow at {address} holds other bytes than the pinned {sha256[:12]}")
    return content


def _get(address: str, route: str, **query: str) -> bytes:
    url = f"{address.rstrip('/')}{route}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the operator's address
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise PackageError(f"MLflow at {address} has no {' '.join(query.values())}") from error
        raise RegistryDown(f"MLflow at {address} answers with status {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise RegistryDown(f"MLflow at {address} does not answer: {error}") from error
