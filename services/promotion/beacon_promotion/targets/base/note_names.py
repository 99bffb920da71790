"""Names of the notes that outlive a run."""

INTENT, GOOD, STOP = "intent", "good", "stop"
