"""The Java that Spark runs on: found before anything starts, with an error that says what is missing."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from beacon_core.platform.settings import Settings, SettingsError

VERSIONS = (17, 21)
"""What Spark 4.0 is tested with."""
NAME = "BEACON_JAVA_HOME"
ADVICE = f"Spark needs Java {' or '.join(map(str, VERSIONS))}, such as Debian's openjdk-17-jre-headless"
VERSION = re.compile(r'version "(\d+)')
ANSWER_SECONDS = 30


def find_java(settings: Settings) -> Path:
    """The program `java`: of the setting, else of JAVA_HOME, else of PATH; raises `SettingsError` naming the rule."""
    home, source = settings.java_home, NAME
    if home is None and os.environ.get("JAVA_HOME"):
        home, source = Path(os.environ["JAVA_HOME"]), "JAVA_HOME"
    if home is not None:
        program = home / "bin" / "java"
        if not program.is_file():
            raise SettingsError(f"{source}: {program} is not there; {ADVICE}")
    else:
        found = shutil.which("java")
        if found is None:
            raise SettingsError(f"{NAME}: it is not set, nor is JAVA_HOME, and PATH has no java; {ADVICE}")
        program, source = Path(found).resolve(), "java on PATH"
    version = _version(program, source)
    if version not in VERSIONS:
        raise SettingsError(f"{source}: {program} is Java {version}; {ADVICE}")
    return program


def _version(program: Path, source: str) -> int:
    try:
        told = subprocess.run(  # noqa: S603 - the user's own Java
            [program, "-version"], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingsError(f"{source}: {program} does not run; {ADVICE}") from error
    found = VERSION.search(told.stderr + told.stdout)
    if found is None:
        raise SettingsError(f"{source}: {program} does not say which Java it is; {ADVICE}")
    return int(found[1])
