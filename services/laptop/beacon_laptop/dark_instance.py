"""A second instance of inference on this machine, for a promotion's dark phase: no user reaches it."""

import subprocess
from pathlib import Path

from beacon_core.platform.settings import Settings
from beacon_laptop.processes import services, variables
from beacon_laptop.supervision import popen


def start(settings: Settings, own: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start inference with the further variables `own` and its output in `log`; it ends with this process."""
    inference = next(process for process in services(settings) if process.name == "inference")
    with log.open("ab") as output:
        return popen(inference.command, variables(settings) | own, output)
