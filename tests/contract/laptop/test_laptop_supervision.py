"""Supervision with the real supervisor and small servers: what is killed restarts or ends, with all its children."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support.ports import free_port
from support.waiting import until

from beacon_laptop import die_with_parent
from beacon_laptop.health import is_ready
from beacon_laptop.processes import Process
from beacon_laptop.supervision import Supervisor, popen

pytestmark = pytest.mark.slow

# A master that opens the port and a worker that answers on it, as gunicorn has them; a killed master leaves the worker.
SERVER = """
import http.server, os, signal, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(os.getpid()).encode())
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
worker = os.fork()
if not worker:
    server.serve_forever()
def stop(*_):
    os.kill(worker, signal.SIGTERM); os._exit(0)
signal.signal(signal.SIGTERM, stop)
os.wait()
"""


def is_running(pid):
    """Whether `pid` runs; a dead process that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def process(tmp_path, port):
    (tmp_path / "server.py").write_text(SERVER)
    return Process("web", "laptop", (str(tmp_path / "server.py"), str(port)), f"http://127.0.0.1:{port}/")


def listens(supervisor):
    """Whether it takes calls: its socket is there a moment before it does."""
    try:
        return supervisor.states() is not None
    except OSError:
        return False


@pytest.fixture
def start(tmp_path):
    """Start a supervisor over the given processes; it is stopped after the test."""
    (tmp_path / "run").mkdir()
    started = []

    def _start(*processes):
        folder = Path(tempfile.mkdtemp(prefix="beacon-", dir="/tmp"))
        supervisor = Supervisor(processes, dict(os.environ), tmp_path, folder / "s")
        started.append((supervisor, folder))
        until(lambda: listens(supervisor), "the supervisor listens")
        for process in processes:
            supervisor.start(process.name)
        return supervisor

    yield _start
    for supervisor, folder in started:
        supervisor.stop()
        assert supervisor.gone()
        (folder / "s").unlink(missing_ok=True)
        folder.rmdir()


def test_a_killed_master_comes_back_although_its_worker_held_the_port(start, process):
    supervisor = start(process)
    until(lambda: is_ready(process.health), "the server answers")
    old = supervisor.states()["web"].pid
    (worker,) = children(old)
    os.kill(old, signal.SIGKILL)
    until(lambda: supervisor.states()["web"].pid not in {0, old}, "a new one")
    until(lambda: not is_running(worker), "the worker of the killed one is gone")
    until(lambda: supervisor.states()["web"].name == "RUNNING" and is_ready(process.health), "the new one answers")
    assert supervisor.last_exit("web") == "terminated by SIGKILL"


def test_stopping_leaves_nothing(start, process, port):
    supervisor = start(process)
    until(lambda: is_ready(process.health), "the server answers")
    master = supervisor.states()["web"].pid
    pids = [supervisor.process.pid, master, *children(master)]
    supervisor.stop()
    assert [pid for pid in pids if is_running(pid)] == []
    socket.create_server(("127.0.0.1", port)).close()


def test_a_killed_supervisor_takes_everything_with_it(start, process):
    supervisor = start(process)
    until(lambda: is_ready(process.health), "the server answers")
    master = supervisor.states()["web"].pid
    pids = [master, *children(master)]
    os.kill(supervisor.process.pid, signal.SIGKILL)
    until(lambda: not any(map(is_running, pids)), "all gone")
    until(supervisor.gone, "its end is seen")
    assert supervisor.gone() == "was killed by SIGKILL"


def test_a_process_that_cannot_stay_up_is_given_up(start):
    supervisor = start(Process("web", "laptop", ("-c", "print('no luck') or exit(3)")))
    until(lambda: supervisor.states()["web"].name == "FATAL", "given up")
    assert supervisor.last_exit("web") == "exit status 3"
    assert "no luck" in (supervisor.logs / "web.log").read_text()


SLEEP = "import time; time.sleep(60)"


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_process_dies_with_its_parent(tmp_path, platform):
    """`darwin` runs the watcher that other systems need, which works here too."""
    mine = tmp_path / "die_with_parent.py"
    mine.write_text(Path(die_with_parent.__file__).read_text().replace("sys.platform ==", f"{platform!r} =="))
    code = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, {str(mine)!r}, sys.executable, "-c", {SLEEP!r}])
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        until(lambda: SLEEP in command(child).split("\0"), "the process has become the command")
        time.sleep(1)
        assert is_running(child)
        parent.kill()
    until(lambda: not is_running(child), "gone with its parent")


def test_a_process_whose_parent_is_gone_is_not_started(tmp_path):
    mark = tmp_path / "started"
    environment = {**os.environ, die_with_parent.PARENT: "1"}
    done = subprocess.run(
        [sys.executable, die_with_parent.__file__, "touch", str(mark)],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"the parent 1 is gone" in done.stderr
    assert not mark.exists()


def test_the_terminal_keeps_ctrl_c_to_itself():
    """A started process is in another session: it does not get the SIGINT that the terminal sends."""
    with popen([sys.executable, "-c", SLEEP], os.environ) as process:
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
        process.kill()


def children(pid):
    found = until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split(), f"children of {pid}")
    return [int(child) for child in found]


def command(pid):
    return Path(f"/proc/{pid}/cmdline").read_text()
