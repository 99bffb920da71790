"""What Beacon's services share. Light at import: no pandas, Flask, Feast or MLflow."""
