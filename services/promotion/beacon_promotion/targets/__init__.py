"""The promotion targets, one folder per adapter."""
