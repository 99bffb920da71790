"""Names that data carry with and without Feast: importing Feast takes seconds."""

from beacon_core.domain.product import CREATED_TIME, EVENT_TIME

__all__ = ("CREATED_TIME", "EVENT_TIME")
