"""Model versions in MLflow, and where a prediction comes from."""
