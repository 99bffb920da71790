"""How the feature store may fail."""

from beacon_core.domain.errors import ConfigurationError


class FeatureStoreError(ConfigurationError):
    """The feature store cannot be opened or filled; the message says what is missing."""


class NoDataYetError(FeatureStoreError):
    """Nothing has ever been written or brought online: the first retraining is still to come."""
