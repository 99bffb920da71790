"""skaffold as a person calls it, in this checkout, where it is there."""

import os
import shutil
import subprocess
from pathlib import Path

from beacon_core.platform.settings import ROOT

NEEDED = None if shutil.which("skaffold") else "skaffold is not here: make .tools/bin/skaffold"
"""Why its tests are skipped; None: they are not."""
SERVICES = "inference prediction-log feature-serving console retraining drift-profiling promotion"
IMAGES = tuple(f"beacon-{name}" for name in SERVICES.split())
"""What skaffold.yaml builds, in its order."""


def skaffold(*arguments: str, home: Path, **variables: str) -> str:
    """What skaffold prints; AssertionError with its message where it fails. Its own files are below `home`."""
    quiet = {"HOME": str(home), "SKAFFOLD_UPDATE_CHECK": "false", "SKAFFOLD_INTERACTIVE": "false"}
    return _run(["skaffold", *arguments], quiet | variables)


def make(target: str) -> None:
    """Make a target that skaffold.yaml's hooks call."""
    _run(["make", "-s", target], {})


def _run(command: list[str], variables: dict[str, str]) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | variables
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout
