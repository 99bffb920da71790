"""Read-only routes in JSON, for notebooks and other programs."""
