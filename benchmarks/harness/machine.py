"""What the measurement stands on: folders, cores, tools brought along, and the facts of the machine."""

import os
import platform
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "benchmarks" / ".work"
PEERS = ROOT / "benchmarks" / "peers"
LOGS = WORK / "logs"
SERVER_CORE, LOAD_CORE = 0, 1
DEBIAN_PACKAGES = {"wrk": "wrk", "redis-server": "redis-server", "taskset": "util-linux"}


class BenchError(Exception):
    """The measurement cannot go on; the message says why and what to do."""


def say(text: str) -> None:
    """One line of progress, at once."""
    print(text, flush=True)


def prepare() -> None:
    """Refuse a machine of one core, bring missing tools, and move this process off the server's core."""
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise BenchError("needs two cores: one for the server, one for the load")
    LOGS.mkdir(parents=True, exist_ok=True)
    missing = [package for tool, package in DEBIAN_PACKAGES.items() if shutil.which(tool) is None]
    if missing and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        raise BenchError(f"needs {', '.join(missing)}: as root, `apt-get install {' '.join(missing)}`")
    if missing:
        say(f"installing {', '.join(missing)}")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        # Another program may hold apt's lock for a while.
        install = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-qq", "-y", *missing]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    os.sched_setaffinity(0, {LOAD_CORE})


def uv() -> str:
    """Uv's path: the machine's, or the one the Makefile brought."""
    return shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")


def peer_environment(name: str) -> Path:
    """The peer's own environment, built from its pinned requirements; built anew only when those change."""
    requirements = PEERS / name / "requirements.txt"
    folder = WORK / "environments" / name
    stamp = folder / "requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != requirements.read_bytes():
        say(f"{name}: installing its environment (once)")
        subprocess.run([uv(), "venv", "--quiet", "--clear", "--python", "3.11", folder], check=True)
        install = [
            uv(),
            "pip",
            "install",
            "--quiet",
            "--python",
            str(folder / "bin" / "python"),
            "-r",
            str(requirements),
        ]
        subprocess.run(install, check=True)
        shutil.copyfile(requirements, stamp)
    return folder


def megabytes(folder: Path) -> float:
    """Size of a folder's files as installed, in MB of 2^20 bytes; bytecode caches left out: they come with use."""
    files = (path for path in folder.rglob("*") if "__pycache__" not in path.parts and not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.is_file()) / 2**20


def facts(requested: list[str]) -> dict[str, str]:
    """Machine, time, revision and command of this run, as text."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split("[")[0]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": f'make bench ARGS="{" ".join(requested)}"' if requested else "make bench",
        "revision": git.stdout.strip() or "unknown",
        "cpu": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory[1]) / 1e6:.0f} GB" if memory else "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "load generator": wrk.strip(),
    }


def versions(environment: Path, packages: list[str]) -> dict[str, str]:
    """Installed versions of the packages in an environment."""
    code = "import importlib.metadata as m, sys; print(*(m.version(name) for name in sys.argv[1:]))"
    command = [str(environment / "bin" / "python"), "-c", code, *packages]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return dict(zip(packages, found, strict=True))
