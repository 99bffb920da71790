"""From training rows to a fitted model."""
