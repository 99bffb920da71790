"""Models in service: one of them, and the swap in place."""
