"""Backups of all that Beacon keeps, and how they are restored: their place, list and parts."""
