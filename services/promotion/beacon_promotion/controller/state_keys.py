"""Keys of the state store: the promotion under way, the good models, and the request to stop."""

INTENT, GOOD, STOP = "intent", "good", "stop"
