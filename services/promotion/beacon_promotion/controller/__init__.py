"""Which model is promoted, and the state machine that does it."""
