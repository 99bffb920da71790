"""Feast, as retraining, feature serving and their jobs use it; feature_repo/ configures it."""
