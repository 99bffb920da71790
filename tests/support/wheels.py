"""Which packages of the lock an environment has on a machine, and which of them have no wheel there.

The lock's own graph is walked, and the names of its files are read: nothing is asked of a network.
"""

import tomllib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

from beacon_core.platform.settings import ROOT

LINUX_GLIBC = range(5, 37)  # up to Debian 12's
MACOS = (14, 0)
Package = dict[str, Any]
Edge = dict[str, Any]


class Machine(NamedTuple):
    """A system, its processor and a Python of CPython."""

    system: str
    processor: str
    python: tuple[int, int] = (3, 11)

    def environment(self) -> dict[str, str]:
        """What markers are about."""
        version = ".".join(map(str, self.python))
        return {
            "sys_platform": self.system,
            "platform_machine": self.processor,
            "platform_system": self.system.capitalize(),
            "os_name": "posix",
            "python_version": version,
            "python_full_version": f"{version}.9",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }

    def tags(self) -> set[Tag]:
        """What pip and uv would take there."""
        if self.system == "darwin":
            platforms = list(mac_platforms(MACOS, self.processor))
        else:
            platforms = [f"manylinux_2_{minor}_{self.processor}" for minor in LINUX_GLIBC]
            names = ("manylinux1", "manylinux2010", "manylinux2014", "linux")
            platforms += [f"{name}_{self.processor}" for name in names]
        interpreter = "cp" + "".join(map(str, self.python))
        python = cpython_tags(self.python, platforms=platforms)
        return {*python, *compatible_tags(self.python, interpreter, platforms)}


def locked_packages() -> list[Package]:
    """The packages of uv.lock."""
    packages: list[Package] = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    return packages


def of_all_groups(lock: list[Package]) -> list[Edge]:
    """What the development environment begins with."""
    (root,) = [package for package in lock if package["source"] == {"virtual": "."}]
    return [edge for group in root["dev-dependencies"].values() for edge in group]


def of_service(lock: list[Package], name: str, *, extras: bool = False) -> list[Edge]:
    """What the environment of a service begins with, as its Dockerfile or the Makefile (with `extras`) installs it."""
    (own,) = [package for package in lock if package["name"] == f"beacon-{name}"]
    return [{"name": own["name"], "extra": list(own.get("optional-dependencies", {})) if extras else []}]


def installed(lock: list[Package], edges: Iterable[Edge], machine: Machine) -> list[Package]:
    """The packages that the edges lead to on that machine."""
    given = machine.environment()
    waiting = list(edges)
    found: dict[tuple[str, str], Package] = {}
    seen: set[tuple[str, str, str]] = set()
    while waiting:
        edge = waiting.pop()
        if not Marker(edge.get("marker", "python_version > '3'")).evaluate(given):
            continue
        for package in lock:
            if package["name"] != edge["name"] or edge.get("version", package["version"]) != package["version"]:
                continue
            if "version" not in edge and not _is_for(package, given):
                continue
            found[package["name"], package["version"]] = package
            for extra in ("", *edge.get("extra", ())):
                key = (package["name"], package["version"], extra)
                if key not in seen:
                    seen.add(key)
                    optional = package.get("optional-dependencies", {})
                    waiting += optional.get(extra, []) if extra else package.get("dependencies", [])
    return list(found.values())


def _is_for(package: Package, given: dict[str, str]) -> bool:
    markers = package.get("resolution-markers", [])
    return not markers or any(Marker(marker).evaluate(given) for marker in markers)


def without_a_wheel(packages: Iterable[Package], machine: Machine) -> Iterator[str]:
    """The names of those that are not our own and have no wheel for the machine."""
    fitting = machine.tags()
    for package in packages:
        if {"editable", "virtual"} & package["source"].keys():
            continue
        files = [wheel["url"].rpartition("/")[2] for wheel in package.get("wheels", ())]
        if not any(parse_wheel_filename(file)[3] & fitting for file in files):
            yield package["name"]
