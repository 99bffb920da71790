"""Names that data carry with and without Feast: importing Feast takes seconds."""

EVENT_TIME = "event_timestamp"
CREATED_TIME = "created"
