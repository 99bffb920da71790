"""The process supervisor: its configuration, and its API on a socket that only this user can open."""

import contextlib
import http.client
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from beacon_core.platform.settings import ROOT
from beacon_laptop import die_with_parent
from beacon_laptop.processes import Process

DIE_WITH_PARENT = (sys.executable, "-I", str(Path(die_with_parent.__file__)))
GROUP = "beacon"
START_SECONDS = 300.0
"""How long a service may take to be ready; on an idle machine it takes seconds."""
CONFIG_FILE = "supervisord.conf"
PLAIN = re.compile(r"[\w./-]+", re.ASCII)
MOST_FOLDER = 60
STOP_SECONDS = 8
"""How long a process may take to stop before it is killed."""
ANSWER_SECONDS = 30.0
"""How long the supervisor may take to answer, which is at once unless it gets no CPU."""


class State(msgspec.Struct, frozen=True):
    """The supervisor's state of one process; `pid` is 0 while it does not run, `name` is the name of the state."""

    pid: int
    name: str


class Configuration(msgspec.Struct, frozen=True):
    """Supervisord's configuration: the file, and the variables for values that the file cannot express."""

    text: str
    variables: dict[str, str]


def configuration(processes: Sequence[Process], sock: Path) -> Configuration:
    """The configuration of a supervisord that starts in the folder `run` beside `logs`.

    No process starts automatically: a first model may have to be trained first. Paths are relative or in a variable,
    since in the file they could contain the sign of a comment or an expansion.
    """
    head = f"""\
[supervisord]
nodaemon = true
logfile = /dev/null
logfile_maxbytes = 0
pidfile = supervisord.pid

[unix_http_server]
file = {sock}
chmod = 0700

[supervisorctl]
serverurl = unix://{sock}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
    # One group, because supervisord stops one group after the other.
    names = ",".join(process.name for process in processes)
    group = f"\n[group:{GROUP}]\nprograms = {names}\n"
    commands = {_variable(process): shlex.join([*DIE_WITH_PARENT, *process.command]) for process in processes}
    text = head + group + "".join(map(_section, processes))
    return Configuration(text, {"SUPERVISED_FOLDER": str(ROOT), **commands})


def _variable(process: Process) -> str:
    return f"SUPERVISED_{process.name.upper().replace('-', '_')}"


def _section(process: Process) -> str:
    return f"""
[program:{process.name}]
command = %(ENV_{_variable(process)})s
directory = %(ENV_SUPERVISED_FOLDER)s
autostart = false
autorestart = true
startsecs = 1
startretries = 3
stopsignal = TERM
stopwaitsecs = {STOP_SECONDS}
killasgroup = true
redirect_stderr = true
stdout_logfile = {log_file(Path("..", "logs"), process.name)}
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 2
"""


def socket_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder for the socket with a short and plain path: a socket's path has about 100 characters at most."""
    usual = tempfile.gettempdir()
    plain = len(usual) <= MOST_FOLDER and PLAIN.fullmatch(usual)
    return tempfile.TemporaryDirectory(prefix="beacon-", dir=usual if plain else "/tmp")  # noqa: S108 - a name of its own


def log_file(logs: Path, name: str) -> Path:
    """Where the output of the process `name` goes."""
    return logs / f"{name}.log"


def popen(
    command: list[str], environment: Mapping[str, str], output: Any = None, folder: Path = ROOT
) -> "subprocess.Popen[bytes]":
    """Start `command`, which ends with this process, in its own session, so that Ctrl-C reaches this process alone."""
    return subprocess.Popen(  # noqa: S603 (the command is ours)
        [*DIE_WITH_PARENT, *command],
        env={**environment, die_with_parent.PARENT: str(os.getpid())},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
    )


def kill_group(pid: int, number: int) -> bool:
    """Send a signal to the process group led by `pid`; False when none of the group is left."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        # macOS answers "not permitted" for a group of which only a dead leader is left.
        return False
    return True


@contextlib.contextmanager
def terminating(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """Terminate the process group of `process` after the block, however the block ends."""
    try:
        yield process
    finally:
        kill_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_SECONDS)
        kill_group(process.pid, signal.SIGKILL)
        process.wait()


class Supervisor:
    """A running supervisord. All methods but `gone` raise `OSError` or `xmlrpc.client.Error` when it cannot answer."""

    def __init__(self, processes: tuple[Process, ...], environment: Mapping[str, str], home: Path, sock: Path) -> None:
        folder = home / "run"
        self.logs = home / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        config = configuration(processes, sock)
        (folder / CONFIG_FILE).write_text(config.text, encoding="ascii")
        with log_file(self.logs, "supervisord").open("wb") as output:
            command = [sys.executable, "-m", "supervisor.supervisord", "-c", CONFIG_FILE]
            self.process = popen(command, {**environment, **config.variables}, output, folder)
        self.groups: dict[str, int] = {}
        """Name -> pid of its newest process, which leads a process group of the same number."""
        self.sock = sock

    def gone(self) -> str | None:
        """How supervisord ended, or None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def call(self, method: str, *arguments: object) -> Any:
        """The supervisor's answer to one call of its XML-RPC interface."""
        transport = _Transport(str(self.sock))
        with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def start(self, name: str) -> None:
        """Start the process `name`, without waiting for it."""
        self.call("startProcess", f"{GROUP}:{name}", False)

    def states(self) -> dict[str, State]:
        """The state of every process; also kills what is left of the process group of one that ended."""
        found = {
            info["name"]: State(pid=info["pid"], name=info["statename"]) for info in self.call("getAllProcessInfo")
        }
        for name, state in found.items():
            old = self.groups.get(name, 0)
            if old not in {0, state.pid}:
                # Workers that lost their master would hold the port that the new one needs.
                kill_group(old, signal.SIGKILL)
            self.groups[name] = state.pid
        return found

    def last_exit(self, name: str) -> str:
        """How the process `name` ended last, in the words of the supervisor's log; empty where it did not end."""
        log = log_file(self.logs, "supervisord").read_text(encoding="utf-8", errors="replace")
        return log.rpartition(f" exited: {name} (")[2].partition(";")[0].partition(")")[0] if name in log else ""

    def stop(self) -> None:
        """Stop every process, then supervisord; kill those that do not stop in time."""
        if self.gone() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=STOP_SECONDS + 4)
            except subprocess.TimeoutExpired:
                kill_group(self.process.pid, signal.SIGKILL)
                self.process.wait()
        # If the supervisor was killed, the kernel sent its processes SIGTERM; they get the same time to stop.
        deadline = time.monotonic() + STOP_SECONDS
        groups = [pid for pid in self.groups.values() if pid]
        while any(kill_group(pid, 0) for pid in groups) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in groups:
            kill_group(pid, signal.SIGKILL)


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket; the host names its path."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket, one connection per call."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _Connection(self.path, timeout=ANSWER_SECONDS)
        self._connection = host, connection  # where the base class looks for what it has to close
        return connection
