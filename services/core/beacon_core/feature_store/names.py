"""Column names, for code that must not spend seconds on importing Feast."""

EVENT_TIME = "event_timestamp"
CREATED_TIME = "created"
