"""Errors of the feature store."""

from beacon_core.domain.errors import ConfigurationError


class FeatureStoreError(ConfigurationError):
    """The feature store cannot be opened or filled; the message says what is missing."""


class NoDataYetError(FeatureStoreError):
    """Nothing has ever been written or materialized: there was no retraining yet."""
