"""Column names and the times of undated rows, for code that must not spend seconds on importing Feast."""

from datetime import UTC, datetime, timedelta

from beacon_core.domain.product import CREATED_TIME, EVENT_TIME

__all__ = ("BASE_END", "BASE_EVENT_TIME", "CREATED_TIME", "EVENT_TIME")

BASE_EVENT_TIME = datetime(2024, 1, 1, tzinfo=UTC)
"""The event time of a table's rows where product.yaml names no column: one instant before any production row."""
BASE_END = BASE_EVENT_TIME + timedelta(days=1)
"""A corrected row is dated a second after the row that it replaces; all of them lie before this."""
