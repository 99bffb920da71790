"""The product in feature_repo is whatever its people put there: it must load and build all that follows from it.

All other tests have a product of their own, so that replacing the one in feature_repo breaks none of them.
"""

import json
import re
from pathlib import Path

import pytest
from support.checkout import tracked
from support.products import POLICY, SPEC

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, Settings
from beacon_core.sources.table import load_table
from beacon_inference.openapi import openapi
from beacon_laptop.example import example_requests
from beacon_retraining.data.table_rules import table_features
from beacon_retraining.data.validate import validate_table
from tools.dashboards.__main__ import texts

SHIPPED = Settings().product
CODE = {".py", ".yaml", ".yml", ".tpl", ".html", ".lua", ".toml"}
FAR = {"https", "s3", "url", "sql"}
DEFAULTS = {
    "tests/system/charts/test_charts.py",
    "tests/system/charts/test_umbrella.py",
    "tests/support/logged_inference.py",
    "tests/reports/test_settings_of_places.py",
    "tests/support/data_files.py",
    "tests/support/features.py",
    "tests/support/settings.py",
    "tests/support/traffic.py",
    "tests/system/e2e_laptop/beacon_run.py",
    "tests/unit/core/test_core_settings.py",
    "tests/unit/project/test_release.py",
    "tests/unit/promotion/test_refusals.py",
    "tests/unit/retraining/test_retrain_offline_rows.py",
    "tests/system/retraining/test_retrain_any_table.py",
    "tests/unit/spark/test_spark_settings.py",
}
"""Files that name Beacon's own settings: for a type, for the defaults, in a program that reads no product."""


@pytest.fixture(scope="module")
def shipped() -> Product:
    return load_product(SHIPPED)


def is_far(product: Product) -> bool:
    """Whether some of its data are not in the checkout."""
    return any(source.kind in FAR or (source.kind == "kaggle" and not source.sample) for source in product.sources)


def test_the_shipped_products_data_keeps_its_rules(shipped: Product) -> None:
    if is_far(shipped):
        pytest.skip("its data is elsewhere")
    rows = validate_table(load_table(shipped).table, shipped)
    assert {feature.name for feature in table_features(shipped)} <= set(rows.columns)
    assert len(rows) >= shipped.data.rows.min


def test_the_shipped_products_document_and_examples_are_built(shipped: Product) -> None:
    document = openapi(shipped, Settings())
    assert shipped.title in document["info"]["title"]
    assert len(example_requests(shipped)) == (1 if shipped.entity is None or is_far(shipped) else 2)
    json.dumps(document)


def test_the_shipped_products_feast_objects_are_built(shipped: Product, tmp_path: Path) -> None:
    if shipped.entity is None:
        pytest.skip("without an entity there is no feature store")
    objects = definitions.build(shipped, tmp_path / "features.parquet")
    assert shipped.feature_service in {getattr(each, "name", None) for each in objects}


def test_the_shipped_products_dashboards_are_built(shipped: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_PRODUCT", str(SHIPPED))
    assert [text for text in texts().values() if shipped.target.title in text]
    assert [text for text in texts().values() if shipped.key_features[0] in text]


def test_the_tests_own_product_is_the_shipped_one_of_that_name(shipped: Product) -> None:
    own = load_product(SPEC)
    if shipped.name != own.name:
        pytest.skip("another product is shipped")
    pairs = [
        (SHIPPED, SPEC),
        (SHIPPED.with_name(POLICY.name), POLICY),
        (shipped.sample_path, own.sample_path),
    ]
    for one, two in pairs:
        assert one.read_bytes() == two.read_bytes(), f"copy {one.relative_to(ROOT)} to {two.relative_to(ROOT)}"


def test_every_test_has_a_product_of_its_own() -> None:
    """By `support.settings` and `support.products`, not by the defaults of Beacon's own settings."""
    of_core = re.compile(r"from beacon_core\.platform\.settings import .*\bSettings\b")
    shipped = re.compile(r"feature_repo[\"'/ ]+product\.yaml")
    files = [file for file in ROOT.glob("tests/**/*.py") if file != Path(__file__)]
    sources = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    found = {name for name, text in sources.items() if of_core.search(text) or shipped.search(text)}
    assert found - DEFAULTS == set()


def test_no_code_names_a_column_of_the_tests_product() -> None:
    """What Beacon needs to know of a table is in product.yaml."""
    own = load_product(SPEC)
    assert own.entity is not None
    names = [*own.feature_names, *own.excluded, own.target.name, own.entity.name, *own.keys]
    named = re.compile(rf"\b(?:{'|'.join(name for name in names if len(name) > 1)})\b")
    folders = ("services", "jobs", "tools", "benchmarks", "charts", ".github")
    files = [file for folder in folders for file in tracked(folder) if file.suffix in CODE]
    assert len(files) > 300
    texts_of = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    assert {name: found[0] for name, text in texts_of.items() if (found := named.search(text))} == {}
