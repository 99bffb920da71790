"""The training of the first model: its log into a file, its stages and bars on the terminal."""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from beacon_core.domain.exit_statuses import BAD_DATA, TRY_AGAIN
from beacon_core.platform.settings import PREFIX
from beacon_laptop.processes import Process
from beacon_laptop.reporter import follow, log_end, new_lines, reason_of, terminal
from beacon_laptop.supervision import popen, terminating

ADVICE = {
    BAD_DATA: "`make check` lists all that is wrong with the product and its data",
    TRY_AGAIN: "try again; `make doctor` says what does not answer",
}
"""By the exit status of the job."""


class TrainingError(Exception):
    """The first model was not trained; the message has the reason, what to do, and the log."""


def train(job: Process, environment: Mapping[str, str], file: Path, pause: Callable[[], None]) -> None:
    """Train; `pause` waits a moment, and raises what ends the whole. Raises `TrainingError`."""
    reasons: list[str] = []
    # The log file is always JSON, whatever the setting.
    given = {**environment, f"{PREFIX}LOG_FORMAT": "json", f"{PREFIX}PROGRESS": "true"}
    with file.open("ab") as log, file.open("rb") as written, terminal().working("training"):
        written.seek(0, os.SEEK_END)
        try:
            with terminating(popen(job.command, given, log)) as process:
                status = _wait(process, written, reasons, pause)
        finally:
            _show(written, reasons)
    if status:
        reason = reasons[-1] if reasons else f"it ended with status {status}"
        advice = ADVICE.get(status, "the log says more")
        raise TrainingError(f"training the first model failed: {reason}\n  {advice}\n{log_end(file)}")


def _wait(process: "subprocess.Popen[bytes]", written: BinaryIO, reasons: list[str], pause: Callable[[], None]) -> int:
    while (status := process.poll()) is None:
        pause()
        _show(written, reasons)
    return status


def _show(written: BinaryIO, reasons: list[str]) -> None:
    for line in new_lines(written):
        follow(line)
        if (reason := reason_of(line)) is not None:
            reasons.append(reason)
