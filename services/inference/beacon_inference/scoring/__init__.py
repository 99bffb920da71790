"""Batch scoring: a table in, its predictions out, as the server answers."""
