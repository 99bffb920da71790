"""Run a command that never outlives its parent: `python die_with_parent.py COMMAND ARGUMENT ...`.

The command replaces this process (same pid, same signals), and gets SIGTERM as soon as its parent process is gone,
however that ended. Imports only the standard library, and works under any Python 3.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PARENT = "DIE_WITH_PARENT_PID"
"""Environment variable: the pid that must be this process's parent; each such process sets it for its children."""
WATCH_SECONDS = 0.5


def main(command: list[str]) -> None:
    """Tie this process to its parent, then become `command`."""
    parent = int(os.environ.get(PARENT, os.getppid()))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    else:
        spawn_watcher(parent)
    # The parent may have died before that.
    if os.getppid() != parent:
        raise SystemExit(f"the parent {parent} is gone, {command[0]} is not started")
    os.environ[PARENT] = str(os.getpid())
    os.execvp(command[0], command)  # noqa: S606 (no shell is wanted)


def spawn_watcher(parent: int) -> None:
    """Where the system has no such signal: a detached grandchild watches `parent` for this process."""
    target = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if os.fork():
        os._exit(0)
    # A session of its own, and none of the target's open files: nothing may wait for the watcher.
    os.setsid()
    os.closerange(0, 256)
    while alive(parent) and alive(target):
        time.sleep(WATCH_SECONDS)
    if alive(target):
        os.kill(target, signal.SIGTERM)
    os._exit(0)


def alive(pid: int) -> bool:
    """Whether a process `pid` exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
