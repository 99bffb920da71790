"""MLflow's artifacts as one file (tar), through MLflow itself, wherever it keeps them; and back."""

import tarfile
from pathlib import Path
from typing import Any

from beacon_core.domain.masking import message_of
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_retraining.backup.unpacking import unpack_tar

FILE = "artifacts.tar"
ROOT = "mlflow-artifacts:/"


def pack(url: str, to: Path, scratch: Path) -> None:
    """Write all artifacts that the server at `url` has into the file `to`; they pass through the folder `scratch`."""
    repository = _repository(url)
    try:
        if repository.list_artifacts(""):
            repository.download_artifacts("", str(scratch))
    except Exception as error:  # its client has no error of its own
        raise RegistryUnavailableError(f"MLflow at {url}: {message_of(error)}") from error
    with tarfile.open(to, "w") as archive:
        archive.add(scratch, ".")


def unpack(file: Path, url: str, scratch: Path) -> None:
    """Bring the artifacts back to the server at `url`."""
    unpack_tar(file, scratch)
    if not any(scratch.iterdir()):
        return
    try:
        _repository(url).log_artifacts(str(scratch))
    except Exception as error:  # see above
        raise RegistryUnavailableError(f"MLflow at {url}: {message_of(error)}") from error


def _repository(url: str) -> Any:
    from mlflow.store.artifact.mlflow_artifacts_repo import (  # noqa: PLC0415 - it takes seconds, and a laptop has no need
        MlflowArtifactsRepository,
    )

    return MlflowArtifactsRepository(ROOT, tracking_uri=url)
