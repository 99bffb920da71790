"""Where backups lie: a folder, or a folder of a bucket of any S3 (AWS_ENDPOINT_URL and its like say where that is).

Each backup is a folder named for its time. Its list is written last and deleted first, so a folder without one is half
a backup.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from fsspec.core import url_to_fs

from beacon_core.domain.masking import message_of
from beacon_retraining.backup.errors import BackupError, BackupPlaceError
from beacon_retraining.backup.listing import BackupList, BackupPart, part_of, read_list

LIST = "backup.json"
STAMP = "%Y%m%dT%H%M%SZ"
NAME = re.compile(r"\d{8}T\d{6}Z")
HALF_IS_DEAD_AFTER = timedelta(days=1)
CLIENTS = frozenset({"botocore", "aiobotocore", "aiohttp", "s3fs"})
"""Whose errors are those of the place, too."""


class BackupPlace:
    """The place `address`: s3://BUCKET/FOLDER, or a folder. Its methods raise `BackupPlaceError`."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        with self._mapped_errors():
            options: dict[str, Any] = {"auto_mkdir": True}
            if "://" in address:
                options = {"use_listings_cache": False, "skip_instance_cache": True}
            self._files, self._root = url_to_fs(self.address, **options)

    def names(self) -> list[str]:
        """The backups that are complete, the oldest first."""
        return [name for name in self._folders() if self._has_list(name)]

    def newest(self) -> str:
        """The newest one that is complete; raises `BackupError` where there is none."""
        names = self.names()
        if not names:
            raise BackupError(f"{self.address} has no backup")
        return names[-1]

    def listing(self, name: str) -> BackupList:
        """The list of a backup; raises `BackupError` where there is none."""
        if not NAME.fullmatch(name) or not self._has_list(name):
            raise BackupError(f"{self.address} has no backup {name}: it has {', '.join(self.names()) or 'none'}")
        with self._mapped_errors():
            return read_list(self._files.cat_file(self._path(name, LIST)), f"{self.address}/{name}/{LIST}")

    def put(self, name: str, file: Path) -> BackupPart:
        """Bring a file there as a part of the backup `name`."""
        part = part_of(file)
        with self._mapped_errors():
            self._files.put_file(str(file), self._path(name, part.name))
        return part

    def finish(self, listing: BackupList) -> None:
        """Write the list: from now on it is a backup."""
        with self._mapped_errors():
            self._files.pipe_file(self._path(listing.name, LIST), msgspec.json.encode(listing))

    def get(self, name: str, part: BackupPart, folder: Path) -> Path:
        """Bring a part into a folder; raises `BackupError` where it is not what the list says."""
        file = folder / part.name
        with self._mapped_errors():
            self._files.get_file(self._path(name, part.name), str(file))
        if part_of(file) != part:
            raise BackupError(f"{self.address}/{name}/{part.name} is not what was written: its sha256 differs")
        return file

    def prune(self, keep: int, now: datetime) -> list[str]:
        """Delete all but the newest `keep` backups, and halves of a day ago; returns the names."""
        complete = self.names()
        gone = complete[:-keep]
        before = (now - HALF_IS_DEAD_AFTER).strftime(STAMP)
        gone += [name for name in self._folders() if name not in complete and name < before]
        for name in gone:
            with self._mapped_errors():
                if self._has_list(name):
                    self._files.rm_file(self._path(name, LIST))
                self._files.rm(self._path(name), recursive=True)
        return sorted(gone)

    def _folders(self) -> list[str]:
        with self._mapped_errors():
            try:
                found = self._files.ls(self._root, detail=False)
            except FileNotFoundError:
                return []
        names = (path.rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if NAME.fullmatch(name))

    def _has_list(self, name: str) -> bool:
        with self._mapped_errors():
            return bool(self._files.exists(self._path(name, LIST)))

    def _path(self, *names: str) -> str:
        return "/".join((self._root, *names))

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except BackupError:
            raise
        except Exception as error:
            if isinstance(error, (OSError, ValueError)) or type(error).__module__.partition(".")[0] in CLIENTS:
                raise BackupPlaceError(f"{self.address}: {message_of(error) or type(error).__name__}") from error
            raise


def stamp(moment: datetime) -> str:
    """The name of a backup that begins at `moment`."""
    return moment.astimezone(UTC).strftime(STAMP)
