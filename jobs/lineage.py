"""Print where a prediction comes from: model version, run, data, code. Exit 0 found, 1 not found, 75 MLflow is away."""

import sys

from beacon_retraining.commands.lineage import run

if __name__ == "__main__":
    sys.exit(run())
