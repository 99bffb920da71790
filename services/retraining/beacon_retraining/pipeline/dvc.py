"""DVC and git, as programs, in the workspace: reproduce, compare, commit."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.observability import logs
from beacon_core.platform.files import replace, write_atomically
from beacon_core.platform.job import trace_environment
from beacon_core.platform.settings import load_settings
from beacon_retraining.errors import RetrainError
from beacon_retraining.pipeline.dvc_objects import stages_of
from beacon_retraining.pipeline.workspace import LOCK, VERSIONED, has_git

log = logging.getLogger("beacon.dvc")
KEPT_LOCK = f".dvc/tmp/{LOCK}"
HOLDERS = ".dvc/tmp/rwlock"
"""DVC's list of the processes that read and write each file."""


class DvcError(RetrainError):
    """DVC itself failed; the message is DVC's."""

    exit_status = TRY_AGAIN


def reproduce(folder: Path, *, force: bool) -> bool:
    """Run the changed stages, all if `force`, and pass on their output. False when a stage failed."""
    git_init(folder)
    remove_stale_holders(folder)
    restore_lock(folder)
    if (folder / LOCK).is_file():
        write_atomically(folder / KEPT_LOCK, (folder / LOCK).read_bytes())
    # No run cache: registration must run each time.
    command = _dvc("repro", "--no-run-cache", *(["--force"] if force else []))
    done = _run_logged(command, folder)
    if not done:
        restore_lock(folder)
    return done


def _run_logged(command: list[str], folder: Path) -> bool:
    """Run a command of DVC; whether it succeeded. On a terminal the stages write to it themselves."""
    environment = _environment() | trace_environment()
    if logs.steps.disabled:
        environment["BEACON_LOG_FORMAT"] = "plain"
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode == 0  # noqa: S603 - a command of our own
    with subprocess.Popen(  # noqa: S603 - a command of our own
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for line in process.stdout or ():
            logs.relay(line, log)
    return process.returncode == 0


def restore_lock(folder: Path) -> None:
    """Replace a broken dvc.lock by the last intact one.

    DVC writes it in place: a full disk or a kill at that moment leaves half a file, and every later run would fail.
    """
    lock, kept = folder / LOCK, folder / KEPT_LOCK
    if not lock.is_file() or stages_of(lock.read_bytes()) is not None:
        return
    if kept.is_file():
        replace(kept, lock)
    else:
        lock.unlink()


def remove_stale_holders(folder: Path) -> None:
    """Remove DVC's list of lock holders where none of them is alive.

    DVC forgets a holder that is gone, but not one that was killed and waits for its parent to notice, and a list that
    a kill left half written stops every later run.
    """
    file = folder / HOLDERS
    try:
        held = msgspec.json.decode(file.read_bytes(), type=_Holders)
    except FileNotFoundError:
        return
    except msgspec.DecodeError:
        held = _Holders()
    holders = [*held.write.values(), *(holder for readers in held.read.values() for holder in readers)]
    if not any(_is_alive(holder.pid) for holder in holders):
        file.unlink()


class _Holder(msgspec.Struct):
    pid: int


class _Holders(msgspec.Struct):
    write: dict[str, _Holder] = {}
    read: dict[str, list[_Holder]] = {}


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def compare(folder: Path) -> str:
    """The metrics beside those of the last run, as a table; empty without git or without an earlier run."""
    if not has_git() or not (folder / ".git").is_dir() or not _git(folder, "rev-parse", "-q", "--verify", "HEAD"):
        return ""
    return output_of(folder, "metrics", "diff", "--md")


def commit(folder: Path, message: str) -> None:
    """One commit in the workspace's own history, where there is git."""
    if not has_git():
        return
    git_init(folder)
    present = [name for name in VERSIONED if (folder / name).is_file()]
    _git(folder, "add", "--force", *present)
    author = ("-c", "user.name=beacon", "-c", "user.email=beacon@localhost", "-c", "commit.gpgsign=false")
    _git(folder, *author, "commit", "-q", "--allow-empty", "--no-verify", "-m", message)


def _dvc(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "beacon_retraining.pipeline.dvc_program", *arguments]


def output_of(folder: Path, *arguments: str) -> str:
    """Run a command of DVC in `folder`; returns its output. Raises `DvcError`."""
    done = run(folder, *arguments)
    if done.returncode != 0:
        raise DvcError(f"dvc {' '.join(arguments)}: {error_message(done)}")
    return done.stdout.strip()


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of DVC in `folder`, however it ends."""
    return subprocess.run(  # noqa: S603 - a command of our own
        _dvc(*arguments), cwd=folder, env=_environment(), capture_output=True, text=True, check=False
    )


def error_message(done: "subprocess.CompletedProcess[str]") -> str:
    """DVC's error on one line."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return "; ".join(errors or lines[-1:]) or f"ended with status {done.returncode}"


def _git(folder: Path, *arguments: str) -> bool:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, check=False)  # noqa: S603 - a command of our own
    return done.returncode == 0


def git_init(folder: Path) -> None:
    """Create the workspace's own repository, where there is git."""
    if has_git() and not (folder / ".git").is_dir():
        _git(folder, "init", "-q", "-b", "main")


def _environment() -> dict[str, str]:
    """Our environment, with our interpreter as `python`, and without git's variables of another repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    own = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "DVC_NO_ANALYTICS": "1",
    }
    return kept | load_settings().environment() | own
