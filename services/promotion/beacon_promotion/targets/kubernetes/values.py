"""Where the values live in git: the same choice by the same verdict, written as a values file instead of released.

The file holds nothing but the pin, as the chart `inference` takes it; committing it is the caller's part, and the
controller's (Argo CD, Flux) to bring it to the cluster.
"""

from pathlib import Path

import msgspec
import yaml

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.pins import Pin
from beacon_core.platform.files import write_atomically

HEAD = "# Written by jobs/promote.py: the model that passed the gate. To go back, revert the commit.\n"


class ValuesError(ValueError):
    """The values file holds something else than a pin; the message names the file."""

    exit_status = REFUSED


class Values(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file, whole: a file that holds more is refused, since a promotion changes the model and nothing else."""

    model: Pin


def read_values(file: Path) -> Pin | None:
    """The pin in the file; None where there is no file yet. Raises `ValuesError`."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return msgspec.convert(content, Values).model
    except FileNotFoundError:
        return None
    except (msgspec.ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValuesError(f"{file}: {error}") from error


def write_values(file: Path, pin: Pin) -> None:
    """Write the pin, in one step."""
    content = yaml.safe_dump(msgspec.to_builtins(Values(pin)), sort_keys=False)
    write_atomically(file, f"{HEAD}{content}".encode())
