"""Bring MLflow's database to this MLflow's schema; safe to repeat. Exit 0 done, 1 refused, 75 try again later."""

import sys

from beacon_retraining.commands.migrate_mlflow import run

if __name__ == "__main__":
    sys.exit(run())
