"""Challenger against champion: the gate, the verdict, the report."""
