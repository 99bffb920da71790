"""The jobs' programs."""
