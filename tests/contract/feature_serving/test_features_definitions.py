"""The Feast definitions say what product.yaml says: names, types, keys, TTL; and the files of both stores load."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from feast import Entity, FeatureService, FeatureView
from feast.types import Float64, Int64
from support.products import SPEC
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT


@pytest.fixture
def product() -> Product:
    return load_product(SPEC)


def only(kind: type, product: Product):
    return next(one for one in definitions.build(product, Path("/data/features.parquet")) if isinstance(one, kind))


def test_view_has_the_features_of_the_product(product: Product) -> None:
    view = only(FeatureView, product)
    assert [field.name for field in view.features] == list(product.feature_names)
    assert {field.dtype for field in view.features} == {Float64}
    assert [(column.name, column.dtype) for column in view.entity_columns] == [(product.entity.key, Int64)]
    assert view.ttl == timedelta(days=product.features_ttl_days)
    assert view.stream_source.name == definitions.push_source_name(product)


def test_excluded_columns_and_target_are_not_features(product: Product) -> None:
    names = {field.name for field in only(FeatureView, product).schema}
    assert not names & {*product.excluded, product.target.name}


def test_entity_and_service_are_named_for_the_product(product: Product) -> None:
    assert only(Entity, product).join_key == product.entity.key
    service = only(FeatureService, product)
    assert service.name == product.feature_service
    assert [view.name for view in service.feature_view_projections] == [definitions.view_name(product)]


def test_the_next_schema_version_shares_no_name_but_the_entity(product: Product) -> None:
    later = msgspec.structs.replace(product, schema_version=product.schema_version + 1)
    names = [{one.name for one in definitions.build(each, Path("/d"))} for each in (product, later)]
    assert names[0] & names[1] == {product.entity.name}


@pytest.mark.parametrize(("folder", "store"), [("feature_repo", "sqlite"), ("feature_repo/redis", "redis")])
def test_both_store_files_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, store: str) -> None:
    monkeypatch.setenv("REDIS_CONNECTION", "127.0.0.1:6379")
    config = repo.load_config(Settings(home=tmp_path, feature_repo=ROOT / folder))
    assert config.online_store.type == store
    assert Path(config.registry.path).is_relative_to(tmp_path)


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_CONNECTION", raising=False)
    with pytest.raises(repo.FeatureStoreError, match="REDIS_CONNECTION"):
        repo.load_config(Settings(home=tmp_path, feature_repo=ROOT / "feature_repo" / "redis"))


def test_importing_feast_instruments_none_of_its_classes() -> None:
    """Two thirds of the processor time of the import, in each service, job and test worker."""
    assert not {"TypeCheckMemo", "check_argument_types"} & set(Entity.__init__.__code__.co_names)
