"""The readers of the online store, one module per kind of store."""
