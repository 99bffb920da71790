"""How retraining, feature serving and the jobs open, apply and fill the feature store."""

import contextlib
import io
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from feast import FeatureStore
from feast.errors import FeastError
from feast.repo_config import RepoConfig
from pydantic import ValidationError

from beacon_core.domain.product import Product
from beacon_core.domain.yaml_text import YamlError
from beacon_core.feature_store import definitions
from beacon_core.feature_store.entity_keys import VERSION
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.feature_store.materialization import MaterializationResult, materialize_new
from beacon_core.feature_store.offline import ParquetOfflineStore, ParquetOfflineStoreConfig
from beacon_core.feature_store.online import keep_newest
from beacon_core.feature_store.other_stores import join_by_store
from beacon_core.feature_store.shared_registry import SharedRegistryStore, again_if_changed
from beacon_core.feature_store.variables import filled, variables_of
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings
from beacon_core.platform.shared_files import SharedFile, shared_file
from beacon_core.platform.yaml_file import read_yaml

CONFIG_FILE = "feature_store.yaml"
OFFLINE_STORE = f"{ParquetOfflineStore.__module__}.{ParquetOfflineStore.__name__}"
REGISTRY_STORE = f"{SharedRegistryStore.__module__}.{SharedRegistryStore.__name__}"
FORMER_OFFLINE_STORE = "feature_repo.offline.ParquetOfflineStore"
"""The name before the class moved, which a user's feature_store.yaml may still have."""


def data_file(settings: Settings) -> SharedFile:
    """The file of the offline rows: key, event_timestamp, created (UTC), and the features as `columns` types them."""
    return shared_file(f"{settings.files_place}/data/features.parquet")


def load_config(settings: Settings) -> RepoConfig:
    """Read feature_store.yaml; ${NAME} is an environment variable, and ${BEACON_HOME} always has a value.

    Raises `FeatureStoreError`.
    """
    file = settings.feature_repo / CONFIG_FILE
    try:
        raw = read_yaml(file)
        _check_offline_store(raw)
        given = filled(raw, variables_of(settings))
        _share_registry(given, settings)
        config = RepoConfig(**given)
    except (YamlError, FeastError) as error:  # for example Feast's, for a class that does not exist
        raise FeatureStoreError(f"{file}: {error}") from error
    except KeyError as error:
        raise FeatureStoreError(f"{file}: the environment variable {error.args[0]} is not set") from error
    except TypeError as error:
        raise FeatureStoreError(f"{file}: must be a mapping") from error
    except ValidationError as error:  # its own message would quote the value, such as a connection string
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise FeatureStoreError(f"{file}: {faults}") from error
    except ValueError as error:
        raise FeatureStoreError(f"{file}: has a $ without the name of a variable; write $$ for a $") from error
    if config.entity_key_serialization_version != VERSION:
        raise FeatureStoreError(f"{file}: entity_key_serialization_version: must be {VERSION}")
    config.repo_path = settings.feature_repo
    return config


def _check_offline_store(raw: Any) -> None:
    section = raw.get("offline_store") if isinstance(raw, dict) else None
    if isinstance(section, dict) and section.get("type") == FORMER_OFFLINE_STORE:
        raise YamlError("offline_store.type", f"{FORMER_OFFLINE_STORE} has moved: write {OFFLINE_STORE}")


def _share_registry(given: dict[str, Any], settings: Settings) -> None:
    """Let a registry in S3 be kept as a shared file; Feast's own store for S3 loses what two write at once."""
    registry = given.get("registry")
    section = registry if isinstance(registry, dict) else {"path": str(registry)}
    path = str(section.get("path", ""))
    if section.get("registry_type", "file") != "file":
        return
    if path.startswith("s3://"):
        given["registry"] = {"registry_store_type": REGISTRY_STORE} | section
    elif not settings.keeps_files and path.startswith(str(settings.home)):
        rule = "lies in BEACON_HOME, which other pods do not see, and BEACON_FILES is in S3"
        raise YamlError("registry.path", f"{rule}: write ${{BEACON_FILES}}/feast/registry.db")


def open_store(settings: Settings) -> FeatureStore:
    """Open the feature store of `settings.feature_repo`/feature_store.yaml; raises `FeatureStoreError`."""
    folders = [settings.home / "feast"]
    if settings.keeps_files:
        folders += [Path(settings.files_place) / name for name in ("feast", "data")]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FeatureStoreError(f"BEACON_HOME, or BEACON_FILES: {folder}: {error.strerror}") from error
    return FeatureStore(config=load_config(settings))


def apply(settings: Settings, product: Product) -> None:
    """Update the registry and the online store to product.yaml; safe to repeat, other schema versions stay."""
    with contextlib.redirect_stdout(io.StringIO()):  # Feast prints; progress is the caller's to show
        store = again_if_changed(lambda: _applied(settings, product))
        keep_newest(store.config, store.get_feature_view(definitions.view_name(product)))


def _applied(settings: Settings, product: Product) -> FeatureStore:
    store = open_store(settings)
    store.apply(definitions.build(product, data_file(settings).address))
    return store


def known_at(settings: Settings, product: Product, moments: pa.Table) -> pa.Table:
    """The product's features as they were known at each moment: `moments` has the key's columns and event_timestamp.

    Each moment is joined to the newest row by event time among those that had arrived by then (`created`), so that no
    later knowledge leaks in. The features are null where nothing was known; the columns of `moments` are kept, and so
    is their order.
    """
    return features_at(settings, product, moments, as_known=True)


def features_at(settings: Settings, product: Product, moments: pa.Table, *, as_known: bool) -> pa.Table:
    """As `known_at`; without `as_known`, whenever a row arrived."""
    store = open_store(settings)
    if not isinstance(store.config.offline_store, ParquetOfflineStoreConfig):
        view = store.get_feature_view(definitions.view_name(product))
        return join_by_store(store, view, moments, as_known=as_known)
    service = store.get_feature_service(product.feature_service)
    job = store.get_historical_features(moments, service, filter_by_created_timestamp=as_known)
    return job.to_arrow()


def materialize(
    settings: Settings, product: Product, end: datetime | None = None, *, everything: bool = False
) -> MaterializationResult:
    """Bring the newest row of each entity online, as of `end` (now by default), as `materialize_new` does."""
    store = open_store(settings)
    with contextlib.redirect_stderr(io.StringIO()):  # Feast draws progress bars
        return materialize_new(store, definitions.view_name(product), end or clock.now(), everything=everything)
