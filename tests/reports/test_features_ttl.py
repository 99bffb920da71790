"""`features_ttl_days` that makes no sense is refused by its name before anything begins."""

from pathlib import Path

import pytest
import yaml
from support.products import SPEC, copy_policy

from beacon_core.domain.spec import MOST_DAYS, ProductError
from beacon_core.platform.product_file import load_product

TEXT = SPEC.read_text(encoding="utf-8")
BAD = [
    "0",
    "-5",
    "0.5",
    "1.5",
    "1e9",
    "1000000000",
    str(10**30),
    "1" + "0" * 400,
    "ten",
    "'3650'",
    "true",
    ".nan",
    ".inf",
]
BAD += ["", "~", "[3650]", "{days: 3650}", str(MOST_DAYS + 1)]


def written(folder: Path, value: str) -> Path:
    line = f"features_ttl_days: {yaml.safe_load(TEXT)['features_ttl_days']}\n"
    assert line in TEXT
    copy_policy(folder)
    file = folder / "product.yaml"
    file.write_text(TEXT.replace(line, f"features_ttl_days: {value}\n"), encoding="utf-8")
    return file


@pytest.mark.parametrize("value", BAD, ids=lambda value: value[:12] or "nothing")
def test_a_value_that_makes_no_sense_is_refused_by_name(tmp_path: Path, value: str) -> None:
    with pytest.raises(ProductError, match="features_ttl_days: "):
        load_product(written(tmp_path, value))


@pytest.mark.parametrize("days", [1, 30, 3650, MOST_DAYS])
def test_days_are_taken(tmp_path: Path, days: int) -> None:
    assert load_product(written(tmp_path, str(days))).features_ttl_days == days


def test_without_it_features_last_ten_years(tmp_path: Path) -> None:
    file = written(tmp_path, "1")
    file.write_text(file.read_text(encoding="utf-8").replace("features_ttl_days: 1\n", ""), encoding="utf-8")
    assert load_product(file).features_ttl_days == 3650


def test_a_century_can_be_materialized(tmp_path: Path) -> None:
    from support.feature_homes import feature_home, features_of, fill_from_file, items

    product = items(tmp_path / "product")
    text = product.file.read_text(encoding="utf-8")
    product.file.write_text(text.replace("features_ttl_days: 3650", f"features_ttl_days: {MOST_DAYS}"), "utf-8")
    product = load_product(product.file)
    assert product.features_ttl_days == MOST_DAYS
    with feature_home(tmp_path, "sqlite") as settings:
        fill_from_file(settings, product)
        with features_of(settings, product) as features:
            assert None not in features.read(1)[0].values()
