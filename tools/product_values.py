"""What charts are told of a product: the text of its files, and data that a ConfigMap or a release can hold."""

import base64
import json
from pathlib import Path
from typing import Any

from beacon_core.domain.policy import POLICY_FILE
from beacon_core.domain.product import Product
from beacon_core.domain.source import Source
from beacon_core.platform.files import write_atomically
from beacon_core.platform.training_code import CODE_FOLDER, code_files
from beacon_core.sources.places import folder_files

UMBRELLA = "beacon"
"""The chart of all releases in one: `helm install beacon charts/beacon`."""
NEED_AN_ENTITY = frozenset({"feature-serving"})
"""Without an entity there are no features to look up."""
DATA_CONFIG_MAP = "beacon-product-data"
INLINE_BYTES = 300_000
"""What the values of UMBRELLA hold of data files: Helm keeps them twice in a Secret of 1 MiB at most."""
DATA_BYTES = 900_000
"""What a ConfigMap holds of data files: it is 1 MiB at most, names and all."""


def told(product: Product, release: str) -> dict[str, Any]:
    """The value `product` of the release's chart."""
    policy = product.file.with_name(POLICY_FILE)
    found: dict[str, Any] = {"spec": product.file.read_text(encoding="utf-8")}
    if policy.is_file():
        found["policy"] = policy.read_text(encoding="utf-8")
    if release == "retraining":
        files = {key: path.as_posix() for key, path in data_files(product).items()}
        found["data"] = {"configMap": DATA_CONFIG_MAP, "files": files}
    return found


def told_all(product: Product) -> dict[str, Any]:
    """The values of the chart UMBRELLA: data files that are small are in them, and others in the ConfigMap."""
    found: dict[str, Any] = {"global": {"product": told(product, UMBRELLA)}}
    if product.entity is None:
        found["install"] = dict.fromkeys(sorted(NEED_AN_ENTITY), False)
    folder, files = product.file.parent, list(data_files(product).values())
    if sum((folder / path).stat().st_size for path in files) <= INLINE_BYTES:
        found["global"]["product"]["data"] = {path.as_posix(): in_base64(folder / path) for path in files}
    else:
        found["retraining"] = {"product": {"data": told(product, "retraining")["data"]}}
    return found


def write_values(product: Product, folder: Path) -> None:
    """Write what UMBRELLA is told into `folder`: beacon.json, which stays as it is where nothing changed.

    skaffold deploys anew when the file is written, and has it written before each deployment.
    """
    file, content = folder / f"{UMBRELLA}.json", f"{json.dumps(told_all(product), indent=1)}\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    if not file.is_file() or file.read_bytes() != content:
        write_atomically(file, content, durable=False)


def in_base64(file: Path) -> str:
    """The file's content as a ConfigMap has it."""
    return base64.b64encode(file.read_bytes()).decode()


def data_files(product: Product) -> dict[str, Path]:
    """The data files of all sources that a ConfigMap can bring to pods, by its keys: paths beside product.yaml.

    No data where a file is missing or lies elsewhere, or where they are too large together. The code of
    training.entry_point comes always.
    """
    folder = product.file.parent.resolve()
    code = [] if product.training.entry_point is None else list(code_files(product.file))
    found = {f"code-{number}": Path(CODE_FOLDER, name) for number, name in enumerate(code)}
    files = list(dict.fromkeys(file.resolve() for source in product.sources for file in _local_files(source)))
    if not all(file.is_file() and file.is_relative_to(folder) for file in files):
        return found
    if sum(file.stat().st_size for file in (*files, *(folder / path for path in found.values()))) > DATA_BYTES:
        return found
    return found | {f"data-{number}": file.relative_to(folder) for number, file in enumerate(files)}


def _local_files(source: Source) -> list[Path]:
    """What the source reads of this machine's files: nothing where it names an address or a query."""
    if source.kind == "kaggle":
        return [source.sample_path] if source.sample_path else []
    if source.kind == "file":
        return [source.path]
    if source.kind == "folder":
        return folder_files(source.path, source.pattern)
    return []
