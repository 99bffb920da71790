"""The release file: the model version that inference serves, pinned by digest, and the one that answers in shadow.

Promotion writes it (a local file on a laptop, a mounted ConfigMap in a cluster); inference watches it.
"""

from pathlib import Path

import msgspec

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.pins import Pin
from beacon_core.platform.files import write_atomically


class ReleaseError(ValueError):
    """The release file is missing or does not name what to serve."""

    exit_status = REFUSED


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pin of the model in service, and of the one that answers in shadow, if there is one."""

    model: Pin
    """The model in service: name, version, sha256."""
    shadow: Pin | None = None
    """The one that answers in shadow; null without one."""


def read_release(file: Path) -> Release:
    """Read the release file; raises `ReleaseError`."""
    if is_empty(file):
        raise ReleaseError(f"{file}: no model is released yet")
    try:
        release = msgspec.json.decode(file.read_bytes(), type=Release)
    except OSError as error:
        raise ReleaseError(f"{file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ReleaseError(f"{file}: {error}") from error
    for pin in (release.model, release.shadow):
        if pin is not None and not pin.has_valid_names:
            raise ReleaseError(f"{file}: {pin.name!r} version {pin.version!r} is not a valid name")
    return release


def is_empty(file: Path) -> bool:
    """Whether the file is there and says nothing: a pod's, to which no model was given yet."""
    try:
        return file.stat().st_size == 0
    except OSError:
        return False


def write_release(file: Path, release: Release) -> None:
    """Replace the release file atomically: a reader sees the old one or the new one."""
    write_atomically(file, msgspec.json.encode(release))


def package_folder(models: Path, pin: Pin) -> Path:
    """Where the package of `pin` lies below the models folder."""
    return models / pin.name / pin.version
