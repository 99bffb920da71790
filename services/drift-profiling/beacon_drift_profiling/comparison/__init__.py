"""Windows of rows against the reference: bins, distances, thresholds. Pure."""
