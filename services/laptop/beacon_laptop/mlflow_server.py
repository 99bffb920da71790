"""MLflow's tracking server in one process (`python -m beacon_laptop.mlflow_server`, in the retraining environment).

`mlflow server` starts its server as a child process: that loads MLflow twice, which takes ten seconds on a laptop, and
when the parent is killed the child keeps the port.
"""

import os
from pathlib import Path

# No telemetry, and no job runner beside the server. MLflow reads these when it is imported.
os.environ |= {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}

import alembic.config
import uvicorn  # before mlflow.server, which guards hosts and origins only when it sees a server
from mlflow.server import constants
from mlflow.server.handlers import initialize_backend_stores

from beacon_core.platform.file_urls import file_uri, sqlite_url
from beacon_core.platform.settings import load_settings

ARTIFACTS = "mlflow-artifacts:/"
STOP_SECONDS = 3


def main() -> None:
    """Serve until SIGTERM: SQLite in BEACON_HOME, artifacts through the server."""
    settings = load_settings()
    artifacts = settings.home / "mlartifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    # MLflow makes the folder of the path that it reads in the URL, and does not undo the quoting of `?` or `%` in it.
    os.chdir(settings.home)
    database = sqlite_url(Path("mlflow.db"))
    _let_alembic_read_any_folder()
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: database,
        constants.REGISTRY_STORE_URI_ENV_VAR: database,
        constants.ARTIFACT_ROOT_ENV_VAR: ARTIFACTS,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: file_uri(artifacts),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    initialize_backend_stores(database, database, ARTIFACTS)
    uvicorn.run(
        "mlflow.server.fastapi_app:app",
        host=settings.host,
        port=settings.mlflow_port,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def _let_alembic_read_any_folder() -> None:
    """Escape `%` in the path of MLflow's migrations, which Alembic would expand."""
    set_option = alembic.config.Config.set_main_option

    def set_escaped(self: alembic.config.Config, name: str, value: str) -> None:
        set_option(self, name, value.replace("%", "%%") if name == "script_location" else value)

    alembic.config.Config.set_main_option = set_escaped  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
