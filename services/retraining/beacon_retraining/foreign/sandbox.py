"""Foreign code and foreign graphs run in a process of their own, which is ended when it takes too much.

What holds: the process has none of this one's environment and so none of its secrets, a folder of its own as its home,
no network where the machine has `unshare` and lets it be used, and limits on memory, processor time, files and time.
What does not: it runs as the same user, and may read what this user may read. Run `beacon register` in a container
where that is too much.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import msgspec

from beacon_retraining.errors import ForeignModelError
from beacon_retraining.packaging.conversion.facts import ModelFacts
from beacon_retraining.training.columns import ModelColumn

WORKER = "beacon_retraining.foreign.worker"
TASK, RESULT, REFUSAL, LOG = "task.json", "result.json", "refusal.txt", "log.txt"
MODEL, NUMBERS, ANSWERS = "model.onnx", "numbers.npy", "answers.npy"
MOST_RESULT_BYTES = 1_000_000
LAST_CHARACTERS = 400
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Limits(msgspec.Struct, frozen=True):
    """Of a process: wall time and processor time in `seconds`, memory and the largest file in bytes."""

    seconds: int = 300
    memory: int = 8 << 30
    file: int = 2 << 30


class SandboxTask(msgspec.Struct, frozen=True):
    """What the process does with `file`: `convert` gives MODEL, `try` runs MODEL; both give ANSWERS to NUMBERS."""

    action: Literal["convert", "try"]
    file: str
    name: str
    kind: str
    columns: tuple[ModelColumn, ...]
    limits: Limits = Limits()


def run(task: SandboxTask, folder: Path) -> ModelFacts:
    """Run a task in `folder`, where its files lie; raises `ForeignModelError`, with the process's own reason."""
    (folder / TASK).write_bytes(msgspec.json.encode(task))
    for name in (RESULT, REFUSAL, ANSWERS):
        (folder / name).unlink(missing_ok=True)
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - this Python, and a module of ours
            [*cut_off(), sys.executable, "-I", "-m", WORKER, str(folder)],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            status = process.wait(task.limits.seconds)
        except subprocess.TimeoutExpired:
            raise ForeignModelError(
                f"{task.name}: did not end within {task.limits.seconds} s and was stopped: does it loop?"
            ) from None
        finally:
            # Whatever it started goes with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if (folder / REFUSAL).is_file():
        raise ForeignModelError(f"{task.name}: {_start(folder / REFUSAL)}")
    if status != 0 or not (folder / RESULT).is_file():
        raise ForeignModelError(f"{task.name}: {_ended(status, task.limits)}; its last words: {_end(folder / LOG)}")
    try:
        return msgspec.json.decode(_start(folder / RESULT, MOST_RESULT_BYTES), type=ModelFacts)
    except msgspec.DecodeError as error:
        raise ForeignModelError(f"{task.name}: the process gave no result that can be read: {error}") from error


@functools.cache
def cut_off() -> tuple[str, ...]:
    """The program that starts another without a network; empty where there is none, or it may not be used."""
    program = shutil.which("unshare")
    if program is None:
        return ()
    command = (program, "--user", "--map-root-user", "--net", "--")
    tried = subprocess.run([*command, "true"], check=False, capture_output=True)  # noqa: S603 - the same program
    return command if tried.returncode == 0 else ()


def described() -> str:
    """What the process may not do, for the person who trusts a pickle."""
    network = "no network" if cut_off() else "the network as this user has it (`unshare` cannot be used here)"
    return f"a process of its own: none of this one's environment, {network}, limits; it can read this user's files"


def _environment(folder: Path) -> dict[str, str]:
    own = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "MPLCONFIGDIR": str(folder),
    }
    return own | dict.fromkeys(ONE_THREAD, "1")


def _ended(status: int, limits: Limits) -> str:
    if status in {-signal.SIGXCPU, -signal.SIGKILL}:
        return f"was ended: it took more than {limits.seconds} s of processor time, or too much memory"
    if status < 0:
        name = signal.Signals(-status).name
        return f"the process crashed ({name}), perhaps at its limit of {limits.memory >> 30} GiB of memory"
    return f"the process ended with status {status}"


def _start(file: Path, most: int = 4000) -> str:
    with file.open("rb") as opened:
        return opened.read(most).decode(errors="replace").strip()


def _end(file: Path) -> str:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - LAST_CHARACTERS))
        return opened.read().decode(errors="replace").strip() or "(none)"
