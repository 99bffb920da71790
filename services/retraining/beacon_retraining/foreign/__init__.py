"""Bring your own model: a finished model of another library as a package of Beacon's."""
