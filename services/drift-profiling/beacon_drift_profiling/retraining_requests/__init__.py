"""From an alarm to a request to retrain."""
