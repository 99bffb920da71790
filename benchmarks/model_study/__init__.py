"""Beacon's search beside CatBoost, FLAML and AutoGluon, on any tables."""
