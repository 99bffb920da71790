"""Readers of the online store: SQLite and Redis read directly, any other store by Feast's own class."""

from feast import FeatureStore
from feast.infra.online_stores.redis import RedisClient, RedisOnlineStoreConfig, RedisType
from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig

from beacon_feature_serving.stores.by_feast import FeastReader
from beacon_feature_serving.stores.reader import OnlineStoreReader
from beacon_feature_serving.stores.redis import RedisReader
from beacon_feature_serving.stores.sqlite import SqliteReader


def open_reader(store: FeatureStore, timeout_seconds: float) -> OnlineStoreReader:
    """The reader for the online store that feature_store.yaml names; a read takes no longer than `timeout_seconds`."""
    config = store.config.online_store
    if isinstance(config, SqliteOnlineStoreConfig):
        return SqliteReader(store.config, timeout_seconds)
    if (
        isinstance(config, RedisOnlineStoreConfig)
        and config.redis_type == RedisType.redis
        and config.client == RedisClient.redis
    ):
        return RedisReader(store.config, timeout_seconds)
    return FeastReader(store, timeout_seconds)
