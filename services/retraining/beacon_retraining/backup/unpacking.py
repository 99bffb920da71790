"""A part of a backup that is a tar, unpacked where nothing of it leads out of the folder."""

import os
import tarfile
from pathlib import Path

from beacon_retraining.backup.errors import BackupError


def unpack_tar(file: Path, folder: Path) -> None:
    """Unpack files, folders and links; raises `BackupError` for what leads out of `folder`, or is a device."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(file) as archive:
            members = archive.getmembers()
            for member in members:
                _check(file, member)
            # Python's own filter, too: Debian's 3.11.2 has none yet.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(folder, members)  # noqa: S202 - each is checked
    except tarfile.TarError as error:
        raise BackupError(f"{file.name} cannot be unpacked: {error}") from error


def _check(file: Path, member: tarfile.TarInfo) -> None:
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        raise BackupError(f"{file.name} cannot be unpacked: {member.name} is a device")
    places = [member.name]
    if member.issym():
        places.append(os.path.join(os.path.dirname(member.name), member.linkname))  # noqa: PTH118, PTH120 - no path yet
    elif member.islnk():
        places.append(member.linkname)
    for place in map(Path, map(os.path.normpath, places)):
        if place.is_absolute() or os.pardir in place.parts:
            raise BackupError(f"{file.name} cannot be unpacked: {member.name} leads out of its folder")
