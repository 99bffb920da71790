"""The Feast definitions say what product.yaml says: names, types, keys, TTL; and the files of both stores load."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import yaml
from feast import Entity, FeatureService, FeatureView
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.types import Float64, Int64
from support.products import SPEC
from support.settings import Settings

from beacon_core.domain.masking import mask
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


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("redis-cluster", {"redis_type": "redis_cluster"}),
        ("redis-sentinel", {"redis_type": "redis_sentinel", "sentinel_master": "${REDIS_SENTINEL_MASTER}"}),
    ],
)
def test_the_files_for_several_redis_servers_differ_in_their_kind_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, own: dict[str, str]
) -> None:
    one, plain = (
        yaml.safe_load((ROOT / "feature_repo" / folder / "feature_store.yaml").read_text())
        for folder in (name, "redis")
    )
    assert one == plain | {"online_store": plain["online_store"] | own}
    monkeypatch.setenv("REDIS_CONNECTION", "127.0.0.1:6379,127.0.0.1:6380")
    monkeypatch.setenv("REDIS_SENTINEL_MASTER", "features")
    online = repo.load_config(Settings(home=tmp_path, feature_repo=ROOT / "feature_repo" / name)).online_store
    assert online.redis_type.value == own["redis_type"]
    assert online.sentinel_master == ("features" if "sentinel_master" in own else "mymaster")


@pytest.mark.parametrize(("installation", "project"), [("beacon", "beacon"), ("housing-beacon", "housing_beacon")])
def test_the_project_in_redis_is_the_installations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installation: str, project: str
) -> None:
    monkeypatch.setenv("REDIS_CONNECTION", "127.0.0.1:6379")
    settings = Settings(home=tmp_path, feature_repo=ROOT / "feature_repo" / "redis", installation=installation)
    assert repo.load_config(settings).project == project


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_CONNECTION", raising=False)
    with pytest.raises(repo.FeatureStoreError, match="REDIS_CONNECTION"):
        repo.load_config(Settings(home=tmp_path, feature_repo=ROOT / "feature_repo" / "redis"))


@pytest.mark.parametrize(
    "password", ["plain", "a,b=c", ",ssl=true", "1e5", "true", 'say "\\x"', "schön ${HOME}", " edge\n"]
)
def test_any_password_of_redis_reaches_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv("REDIS_CONNECTION", "127.0.0.1:6379,db=3")
    monkeypatch.setenv("REDIS_PASSWORD", password)
    config = repo.load_config(Settings(home=tmp_path, feature_repo=ROOT / "feature_repo" / "redis"))
    nodes, options = RedisOnlineStore._parse_connection_string(config.online_store.connection_string)
    assert nodes == [{"host": "127.0.0.1", "port": "6379"}]
    assert options == {"db": 3, "password": password.strip(), "socket_timeout": 1, "socket_connect_timeout": 1}
    assert mask(f"no answer: {config.online_store.connection_string}") == (
        'no answer: 127.0.0.1:6379,db=3,password="***",socket_timeout=1,socket_connect_timeout=1'
    )


def test_a_password_in_the_connection_string_is_the_one_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_CONNECTION", "127.0.0.1:6379,password=its-own")
    monkeypatch.setenv("REDIS_PASSWORD", "another")
    config = repo.load_config(Settings(home=tmp_path, feature_repo=ROOT / "feature_repo" / "redis"))
    _, options = RedisOnlineStore._parse_connection_string(config.online_store.connection_string)
    assert options["password"] == "its-own"


def test_importing_feast_instruments_none_of_its_classes() -> None:
    """Two thirds of the processor time of the import, in each service, job and test worker."""
    assert not {"TypeCheckMemo", "check_argument_types"} & set(Entity.__init__.__code__.co_names)
