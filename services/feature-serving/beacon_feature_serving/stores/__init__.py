"""Readers of the online store: SQLite and Redis read directly, any other store by Feast's own class."""
