"""The product of the tests, and others, made from a table: product.yaml, policy.yaml and a data file."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

Cells = Sequence[Any]
Section = Mapping[str, Any]
SPEC, POLICY = (ROOT / "tests" / "products" / "boston" / name for name in ("product.yaml", "policy.yaml"))
"""The two files of the tests' own product: the checkout's, in feature_repo, is whatever its people put there."""
SAMPLE_FILE = SPEC.parent / "sample" / "HousingData.csv"
"""Its data."""
MIXED = SPEC.parents[1] / "mixed" / "product.yaml"
"""A product with a feature of each type, and an entity with a text key."""


def copy_policy(folder: Path) -> Path:
    """Put the tests' policy.yaml into `folder`, beside a product.yaml of the test's own."""
    return Path(shutil.copy(POLICY, folder))


def csv_text(table: Mapping[str, Cells]) -> str:
    """A table as CSV, each cell as `str` writes it: floats with all their digits, None as NA."""
    rows = zip(*table.values(), strict=True)
    lines = [",".join("NA" if cell is None else str(cell) for cell in row) for row in rows]
    return "\n".join([",".join(table), *lines, ""])


def write_product(
    folder: Path,
    table: Mapping[str, Cells],
    target: str,
    *,
    columns: Mapping[str, Section] | None = None,
    source: Section | None = None,
    **changes: Any,
) -> Product:
    """Write product.yaml, policy.yaml and items.csv into `folder`; the limits on whole tables are lifted.

    Each column but the target is a float feature with a range that is wider than its values. `columns` changes what is
    said of some (None: leaves a key out), `source` changes keys of that section, `changes` are whole sections of
    product.yaml. The policy is the tests' one, without the directions of its features.
    """
    raw = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
    policy = yaml.safe_load(POLICY.read_text(encoding="utf-8"))
    changed = columns or {}
    limits = dict.fromkeys(raw["data"]["limits"], 1.0)
    raw["source"] = {"file": "items.csv", "format": {"missing": ["NA"]}, **(source or {})}
    raw["data"] = {"limits": limits, "rows": {"min": 1, "max": 1_000_000}}
    raw["target"] |= {"name": target, "title": target, "unit": "units", "valid": _range(table[target])}
    raw["target"] |= changed.get(target, {})
    raw["features"] = {name: _feature(name, table[name], changed.get(name, {})) for name in table if name != target}
    raw["min_features"] = min(2, len(raw["features"]))
    policy["promotion"] |= {"directions": {}}
    raw |= {
        "name": "items",
        "title": "items",
        "entity": {"name": "item", "key": "item_id", "row_number": True},
        "excluded": {},
        "segments": {},
        "key_features": list(raw["features"])[:1],
    }
    file = folder / "product.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(raw | changes, sort_keys=False), encoding="utf-8")
    (folder / POLICY.name).write_text(yaml.safe_dump(policy, sort_keys=False), encoding="utf-8")
    (folder / "items.csv").write_text(csv_text(table), encoding="utf-8")
    return load_product(file)


def _feature(name: str, cells: Cells, changes: Section) -> dict[str, Any]:
    feature: dict[str, Any] = {"type": "float", "title": name, "unit": "units", "nullable": True, "impute": "median"}
    feature |= {"valid": _range(cells), "example": next(iter(_numbers(cells)), 0)}
    return {key: value for key, value in {**feature, **changes}.items() if value is not None}


def _range(cells: Cells) -> list[float]:
    most = max([1.0, *map(abs, _numbers(cells))]) * 1000
    return [-most, most]


def _numbers(cells: Cells) -> list[float]:
    return [cell for cell in cells if isinstance(cell, int | float)]


def write_spec(folder: Path, features: Mapping[str, Section], **changes: Any) -> Product:
    """Write a product.yaml alone, without data: `features` and, in `changes`, other sections; no entity by itself."""
    raw = {"name": "spec", "source": {"file": "items.csv"}, "target": {"name": "outcome"}, "features": dict(features)}
    file = folder / "product.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(raw | changes, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return load_product(file)
