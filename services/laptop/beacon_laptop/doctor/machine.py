"""Checks of this machine: programs, environments, disk, memory and ports."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

import psutil

from beacon_cli.project import Project
from beacon_cli.table import ALL
from beacon_core.platform.settings import PREFIX, ROOT, Settings
from beacon_laptop.doctor.findings import Finding, State
from beacon_laptop.ports import PORTS, holder_of, port_problem
from beacon_laptop.processes import BEACON

PYTHON = (3, 11)
LEAST_DISK, LITTLE_DISK = 300 << 20, 2 << 30
LEAST_MEMORY, LITTLE_MEMORY = 500 << 20, 1500 << 20
LEAST_INODES = 10_000
TOOLS = (("make", "install make"), ("git", "install git: without it a retraining has no history"))


def programs() -> Iterator[Finding]:
    """Python, and what make and DVC call."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == PYTHON:
        yield Finding("Python", "ok", version)
    else:
        yield Finding("Python", "fail", f"{version}, and the environments are for 3.11", "make .venvs/laptop.stamp")
    for name, mend in TOOLS:
        place = shutil.which(name)
        if place is None:
            yield Finding(name, "fail" if name == "make" else "warn", "is not on PATH", mend)
            continue
        done = subprocess.run([place, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - a tool of this machine
        yield Finding(name, "ok", (done.stdout.splitlines() or [place])[0])
    path = f'is not on PATH, until you type: export PATH="$PATH:{BEACON.parent}"'
    yield Finding("beacon", "ok", shutil.which("beacon") or path)


def environments(root: Path = ROOT) -> Iterator[Finding]:
    """Whether each environment is built for the lock, and holds the versions that the lock names."""
    project = Project(root)
    locked = _locked(root / "uv.lock")
    for name in ALL:
        mend = f"rm -f .venvs/{name}.stamp; make .venvs/{name}.stamp"
        if not project.python(name).exists():
            yield Finding(f"environment {name}", "fail", "is not built", f"make .venvs/{name}.stamp")
            continue
        wrong = _unlike(root / ".venvs" / name, locked)
        if wrong:
            more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            yield Finding(f"environment {name}", "fail", "; ".join(wrong[:3]) + more, mend)
        elif not project.is_current(name):
            yield Finding(f"environment {name}", "warn", "is older than the lock", f"make .venvs/{name}.stamp")
        else:
            yield Finding(f"environment {name}", "ok", "as the lock has it")


def _locked(lock: Path) -> dict[str, set[str]]:
    """The versions of each package in the lock."""
    found: dict[str, set[str]] = {}
    for package in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]:
        found.setdefault(package["name"], set()).add(package.get("version", ""))
    return found


def _unlike(environment: Path, locked: dict[str, set[str]]) -> list[str]:
    """Each package of an environment whose version is none of the lock's."""
    wrong = []
    for folder in environment.glob("lib/python*/site-packages/*.dist-info"):
        # Its name tells both, but escapes some versions: only of those is the metadata read, which takes long for all.
        given, _, version = folder.stem.partition("-")
        name = re.sub(r"[-_.]+", "-", given).lower()
        if name not in locked or version in locked[name]:
            continue
        version = Distribution.at(folder).version
        if version not in locked[name]:
            wrong.append(f"{name} is {version}, and {' or '.join(sorted(locked[name]))} in the lock")
    return sorted(wrong)


def disk(home: Path) -> Iterator[Finding]:
    """The disk of the state."""
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    mend = f"free some of the disk of {place}, or set BEACON_HOME to another one"
    state = _level(free, LEAST_DISK, LITTLE_DISK)
    yield Finding("disk", state, f"{free >> 20} MB are free at {place}", "" if state == "ok" else mend)
    files = os.statvfs(place)
    if files.f_files and files.f_favail < LEAST_INODES:
        yield Finding("disk", "fail", f"only {files.f_favail} files can be made at {place}", mend)


def memory() -> Iterator[Finding]:
    """The memory that is left."""
    free = psutil.virtual_memory().available
    state = _level(free, LEAST_MEMORY, LITTLE_MEMORY)
    yield Finding("memory", state, f"{free >> 20} MB are available", "" if state == "ok" else "end other programs")


def _level(free: int, least: int, little: int) -> State:
    return "fail" if free < least else "warn" if free < little else "ok"


def ports(settings: Settings, *, runs: bool) -> Iterator[Finding]:
    """Each port: free, or held by this run, which is at work."""
    for setting, use in PORTS.items():
        port: int = getattr(settings, setting)
        problem = port_problem(settings.host, port)
        check, variable = f"port {port}", f"{PREFIX}{setting.upper()}"
        if problem is None:
            yield Finding(check, "ok", f"free, for {use}")
        elif runs and problem.startswith("is taken"):
            yield Finding(check, "ok", f"{use}: {holder_of(port) or 'this run'}")
        else:
            pid = re.search(r"pid (\d+)", holder_of(port) or "")
            stop = f"kill {pid[1]}, or " if pid else ""
            yield Finding(check, "fail", f"{use}: {problem}", f"{stop}set {variable} to another port")
