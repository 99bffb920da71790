"""The programs of this room."""
