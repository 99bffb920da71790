"""Feature serving as a process: Feast's clients work against it, and it answers what `feast serve` answers."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore
from feast.errors import FeastError, FeatureServiceNotFoundException
from feast.repo_config import RepoConfig
from support.features import (
    STALE,
    TOKEN,
    UNKNOWN,
    WITH_NULL,
    as_we_word_it,
    by_name,
    fill,
    frame_of,
    serve_by_feast,
    serve_features,
)
from support.ports import free_port
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo

pytestmark = [pytest.mark.xdist_group("features"), pytest.mark.timeout(240), pytest.mark.slow]


@pytest.fixture(scope="module")
def served(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A filled store on SQLite, and feature serving on it."""
    home = tmp_path_factory.mktemp("served")
    settings = Settings(home=home, features_port=free_port(), features_metrics_port=free_port(), feature_token=TOKEN)
    fill(settings, product)
    with serve_features(settings, home):
        yield settings


def client(settings: Settings, token: str = "") -> FeatureStore:
    """Feast's SDK with feature serving for an online store."""
    config = repo.load_config(settings)
    remote: dict[str, Any] = {
        "project": config.project,
        "provider": "local",
        "registry": {"registry_type": "file", "path": str(config.registry.path)},
        "online_store": {"type": "remote", "path": settings.features_address, "connection_retries": 0},
        "entity_key_serialization_version": 3,
    }
    if token:
        remote["auth"] = {"type": "kubernetes", "user_token": token}
    return FeatureStore(config=RepoConfig(**remote))


def test_feasts_sdk_reads_through_it(served: Settings, product: Product) -> None:
    key = product.entity.key
    here, there = repo.open_store(served), client(served)
    service = here.get_feature_service(product.feature_service)
    entities = {key: [1, WITH_NULL, UNKNOWN]}
    assert (
        there.get_online_features(service, entities).to_dict() == here.get_online_features(service, entities).to_dict()
    )
    stale = there.get_online_features(service, {key: [STALE]}).to_dict()
    assert stale["RM"] == [None]


def test_feasts_remote_store_reads_rows(served: Settings, product: Product) -> None:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    there, here = client(served), repo.open_store(served)
    view = here.get_feature_view(definitions.view_name(product))
    keys = [EntityKey(join_keys=[product.entity.key], entity_values=[Value(int64_val=n)]) for n in (1, WITH_NULL)]
    names = list(product.feature_names)
    theirs = here._get_provider().online_read(here.config, view, keys, names)
    ours = there._get_provider().online_read(there.config, view, keys, names)
    assert ours == theirs


def test_feasts_clients_raise_feasts_errors(served: Settings, product: Product) -> None:
    there = client(served)
    view = definitions.view_name(product)
    with pytest.raises(FeastError, match="at most 1000"):
        there.get_online_features([f"{view}:RM"], {product.entity.key: list(range(1001))})
    service = there.get_feature_service(product.feature_service)
    service.name = "gone"
    with pytest.raises(FeatureServiceNotFoundException, match="gone"):
        there.get_online_features(service, {product.entity.key: [1]})


def test_feasts_client_writes_with_the_token_only(served: Settings, product: Product) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    row = frame_of(product, [1], now, now).assign(**{product.entity.key: 700, "RM": 7.25})
    view = definitions.view_name(product)
    for refused in (client(served), client(served, "wrong")):
        with pytest.raises(FeastError, match="token"):
            refused.write_to_online_store(view, row)
    there = client(served, TOKEN)
    there.write_to_online_store(view, row)
    service = there.get_feature_service(product.feature_service)
    assert there.get_online_features(service, {product.entity.key: [700]}).to_dict()["RM"] == [7.25]


def post(port: int, path: str, body: Any, token: str = "") -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(body).encode(),
        {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {}),
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
            return answer.status, json.loads(content) if content else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_materialization_in_the_background(served: Settings, product: Product) -> None:
    end = datetime.now(UTC).isoformat()
    status, told = post(served.features_port, "/materialize-incremental?async=true", {"end_ts": end}, TOKEN)
    assert status == 202
    assert told == {"status": "accepted", "feature_views": [definitions.view_name(product)]}


def test_the_same_requests_to_feast_serve(served: Settings, product: Product, tmp_path: Path) -> None:
    """Every good request is answered alike; what Feast answers with a 500 for a client's fault is a 4xx here."""
    service, key, view = product.feature_service, product.entity.key, definitions.view_name(product)
    good: list[dict[str, Any]] = [
        {"feature_service": service, "entities": {key: [1]}},
        {"feature_service": service, "entities": {key: [506, 1, 1, UNKNOWN]}},
        {"feature_service": service, "entities": {key: list(range(5, 105))}, "full_feature_names": True},
        {"features": [f"{view}:RM", f"{view}:TAX"], "entities": {key: [2, 3]}},
        {"features": [f"{view}:RM"], "entities": {key: [1]}, "include_feature_view_version_metadata": True},
    ]
    bad: list[Any] = [
        {"feature_service": "nothing", "entities": {key: [1]}},
        {"features": ["nothing:RM"], "entities": {key: [1]}},
        {"features": [f"{view}:RMM"], "entities": {key: [1]}},
        {"feature_service": service, "entities": {key: []}},
        {"feature_service": service, "entities": {}},
        {"feature_service": service, "entities": {key: [1], "other": [1, 2]}},
        {"feature_service": service, "entities": {key: ["x"]}},
        {"feature_service": service, "entities": 1},
        [],
    ]
    port = free_port()
    with serve_by_feast(served, tmp_path, port):
        for body in good:
            ours, theirs = (post(each, "/get-online-features", body) for each in (served.features_port, port))
            assert ours[0] == theirs[0] == 200
            assert by_name(ours[1]) == as_we_word_it(by_name(theirs[1]))
            assert ours[1]["metadata"].get("feature_view_metadata") == theirs[1]["metadata"].get(
                "feature_view_metadata"
            )
        for body in bad:
            ours, theirs = (post(each, "/get-online-features", body) for each in (served.features_port, port))
            assert ours[0] == (theirs[0] if theirs[0] < 500 else 422), body
            # Feast's kinds of body: a list of details, a FeastError in a string, or (for a 500) any words.
            assert type(ours[1]) is type(theirs[1]), body
            if theirs[0] == 404:
                assert json.loads(ours[1]) == json.loads(theirs[1])
            elif theirs[0] == 422:
                assert ours[1]["detail"][0]["loc"] == theirs[1]["detail"][0]["loc"]
