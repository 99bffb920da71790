"""Predictions, the prediction log and drift results of a running Beacon, as data frames."""

from beacon_client.client import Beacon
from beacon_client.drift import DriftReport
from beacon_client.http_service import ServiceError, ServiceUnreachableError

__all__ = ["Beacon", "DriftReport", "ServiceError", "ServiceUnreachableError"]
