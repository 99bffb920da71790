"""The schema of MLflow's database: MLflow does not start on an older one, and migrates none by itself."""

import subprocess
import sys

from beacon_core.data.database import hold_migrations
from beacon_core.domain.masking import mask_all
from beacon_retraining.errors import RetrainError

NOTHING, DONE = (
    "an empty database: MLflow makes its tables when it starts",
    "MLflow's database has the schema of this MLflow",
)


def upgrade(url: str) -> str:
    """Bring MLflow's database at `url` to the schema of the MLflow here; safe to repeat. Returns what was done.

    It holds the lock of migrations, since two releases may begin with this one. Raises `RetrainError`, with what
    MLflow says, and `DatabaseUnavailableError`.
    """
    with hold_migrations(url) as has_schema:
        if not has_schema:
            return NOTHING
        command = [sys.executable, "-m", "mlflow", "db", "upgrade", url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - MLflow's own
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        raise RetrainError(f"mlflow db upgrade: {mask_all(last)}")
    return DONE
