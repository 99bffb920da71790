"""`make retrain`: runs the job by DVC, with MLflow beside it where none answers. Exit status: the job's."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator

from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.platform.locks import BusyError, exclusive
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings, clean_credentials, load_settings, make_home
from beacon_laptop.health import is_ready
from beacon_laptop.processes import Process, services, training, variables
from beacon_laptop.reporter import report
from beacon_laptop.signing import prepare_keys
from beacon_laptop.supervision import START_SECONDS, popen, terminating

POLL_SECONDS = 0.25


def main() -> int:
    """Make a new model from data, with a verdict. The arguments are those of jobs/retrain.py."""
    try:
        clean_credentials()
        settings = load_settings()
        product = load_product(settings.product)
        make_home(settings)
        prepare_keys(settings, product.name)
    except ConfigurationError as error:
        report(f"beacon cannot start: {message_of(error)}")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = training(settings, sys.argv[1:], by_dvc=True).command
    with (
        contextlib.suppress(KeyboardInterrupt),
        registry(settings),
        terminating(popen(command, variables(settings))) as job,
    ):
        return job.wait()
    return 128 + signal.SIGINT


@contextlib.contextmanager
def registry(settings: Settings) -> Iterator[None]:
    """Run MLflow during the block, unless one answers already; raises SystemExit if it does not start."""
    mlflow = services(settings)[0]
    wait_for_run(settings, mlflow)
    if settings.mlflow_url or is_ready(mlflow.health):
        yield
        return
    report(f"beacon: starting {mlflow.name} for this run")
    file = settings.home / "mlflow.log"
    with file.open("ab") as log, terminating(popen(mlflow.command, variables(settings), log)) as server:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(mlflow.health):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{mlflow.name} does not start; {file} says why")
            time.sleep(POLL_SECONDS)
        yield


def wait_for_run(settings: Settings, mlflow: Process) -> None:
    """Wait for the MLflow of a `make run` that has just started: at a warm start it comes last."""
    deadline = time.monotonic() + START_SECONDS
    while not is_ready(mlflow.health) and time.monotonic() < deadline:
        try:
            with exclusive(settings.home / "run" / "lock", ""):
                return  # nobody runs
        except BusyError:
            time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
