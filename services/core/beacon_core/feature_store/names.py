"""Column names, for code that must not spend seconds on importing Feast."""

from beacon_core.domain.product import CREATED_TIME, EVENT_TIME

__all__ = ("CREATED_TIME", "EVENT_TIME")
