"""What a store or a registry that is down raises becomes a 503."""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator

from feast.errors import FeastError
from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_of
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.feature_store.shared_registry import RegistryChangedError
from beacon_core.platform.shared_files import SharedFilesError, SharedFilesUnavailableError
from beacon_feature_serving.errors import from_feast_error

log = logging.getLogger(__name__)


@contextlib.contextmanager
def outages_as_503() -> Iterator[None]:
    """Raise `feature_store_unavailable` for an outage, and Feast's own errors with their status."""
    try:
        yield
    except FeastError as error:
        raise from_feast_error(error) from error
    except (FeatureStoreError, SharedFilesError, SharedFilesUnavailableError, RegistryChangedError) as error:
        raise BeaconError("feature_store_unavailable", str(error)) from error
    except Exception as error:
        if not _is_outage(error):
            raise
        log.warning("write failed", exc_info=error)
        raise BeaconError("feature_store_unavailable", f"the store does not answer: {message_of(error)}") from error


def _is_outage(error: Exception) -> bool:
    """Whether a store or a registry is down; other databases' drivers name such errors as the DB-API does."""
    if isinstance(error, (sqlite3.Error, RedisError, OSError, DecodeError)):
        return True
    return not {"OperationalError", "InterfaceError"}.isdisjoint(kind.__name__ for kind in type(error).__mro__)
