"""Writes a proposal: product.yaml, policy.yaml and, where it is small, the data beside them."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from beacon_core.domain.policy import POLICY_FILE
from beacon_core.domain.product import Product
from beacon_core.domain.source import SCHEME, Source, parse_sources
from beacon_core.domain.spec import ProductError
from beacon_core.platform.files import draft_of, write_atomically
from beacon_core.platform.product_file import load_product
from beacon_core.sources.raw import RawTable
from beacon_retraining.proposal.product_text import policy_text, product_text
from beacon_retraining.proposal.propose import Proposal

PRODUCT_FILE = "product.yaml"
MOST_COPIED = 20 << 20
"""Bytes: a larger file stays where it is, and product.yaml names its path."""


class Data(NamedTuple):
    """The data of a new product: the source as product.yaml will spell it, as it is read now, and a file to copy."""

    entry: dict[str, Any]
    now: dict[str, Any]
    copied: Path | None = None


def place_of(data: str, folder: Path, form: Mapping[str, Any] | None = None) -> Data:
    """The source that --data names: an address, a folder, or a file, which is copied into `folder` if small.

    `form` is what a person says of its format.
    """
    found = _place(data, folder)
    said = {"format": dict(form)} if form else {}
    return found._replace(entry=found.entry | said, now=found.now | said)


def _place(data: str, folder: Path) -> Data:
    if match := SCHEME.match(data):
        scheme = match[1].lower()
        kind = "s3" if scheme == "s3" else "https" if scheme in {"http", "https"} else "url"
        return Data({kind: data}, {kind: data})
    path = Path(data).expanduser().absolute()
    if path.is_dir():
        return Data({"folder": _path_from(path, folder)}, {"folder": str(path)})
    now = {"file": str(path)}
    if path.is_file() and path.stat().st_size <= MOST_COPIED and path.resolve().parent != folder.resolve():
        return Data({"file": path.name}, now, path)
    return Data({"file": _path_from(path, folder)}, now)


def source_now(data: Data, folder: Path) -> Source:
    """The source as it can be read before anything is copied."""
    [source] = parse_sources(folder / PRODUCT_FILE, data.now)
    return source


def write_product(folder: Path, name: str, data: Data, raw: RawTable, proposal: Proposal) -> Product:
    """Write all files of the product into `folder`, once they load; the product, as it loads."""
    form = _format(raw, proposal) | data.entry.get("format", {})
    entry = data.entry | ({"format": form} if form else {})
    texts = {
        PRODUCT_FILE: product_text(name, entry, raw.dialect.text, proposal),
        POLICY_FILE: policy_text(proposal),
    }
    _check_loads(texts, folder)
    if data.copied is not None:
        _copy(data.copied, folder / data.copied.name)
    for file, text in texts.items():
        write_atomically(folder / file, text.encode())
    return load_product(folder / PRODUCT_FILE)


def existing(folder: Path, data: Data) -> list[Path]:
    """The files that would be written over."""
    names = [PRODUCT_FILE, POLICY_FILE, *([data.copied.name] if data.copied else [])]
    return [folder / name for name in names if (folder / name).exists()]


def _path_from(path: Path, folder: Path) -> str:
    """The path relative to `folder` where both are below one folder, such as the checkout, else the whole path."""
    base = folder.absolute()
    return os.path.relpath(path, base) if path.is_relative_to(base.parent.parent) else str(path)


def _format(raw: RawTable, proposal: Proposal) -> dict[str, Any]:
    """What of the format product.yaml must say: usual marks of missing values are read by the columns' types."""
    found = {name: value for name, value in raw.dialect.format.items() if name != "missing"}
    if proposal.marks:
        found["missing"] = sorted({*raw.dialect.found, *proposal.marks, ""})
    if proposal.signs:
        found["signs"] = proposal.signs
    return found


def _check_loads(texts: dict[str, str], folder: Path) -> None:
    """Raise `ProductError` where a proposal does not load, before anything is written: that is a mistake of ours."""
    with tempfile.TemporaryDirectory(prefix="beacon-new-") as draft:
        for file, text in texts.items():
            (Path(draft) / file).write_text(text, encoding="utf-8")
        try:
            load_product(Path(draft) / PRODUCT_FILE)
        except ProductError as error:
            raise ProductError(folder / error.file.name, error.key, error.rule) from error


def _copy(file: Path, to: Path) -> None:
    with draft_of(to) as draft:
        draft.write_bytes(file.read_bytes())
