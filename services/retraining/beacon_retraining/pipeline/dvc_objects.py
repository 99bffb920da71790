"""The objects that dvc.lock names: whether a cache or a remote has an intact copy, and which file each is.

DVC takes an object for intact because it exists, takes a folder's files for pushed because its list is, and names an
object's digest instead of its file. So a push verifies first, and a pull fetches all before it touches a file.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import yaml

BLOCK = 1 << 20
FOLDER = ".dir"
"""Suffix of the digest of a folder's list."""


class StoredObject(msgspec.Struct, frozen=True):
    """An object that dvc.lock names: its digest, its file in the workspace, and the digest of its folder's list."""

    digest: str
    file: str
    listed_in: str = ""


class _Entry(msgspec.Struct):
    md5: str
    relpath: str


class ObjectStorage:
    """Objects by their digest: DVC's cache or its remote. Methods raise what the file system raises."""

    def __init__(self, address: str | Path) -> None:
        # A path is no URL: fsspec would read `::` in it as a chain.
        self._system: Any
        self._folder: str
        is_url = "://" in str(address)
        self._system, self._folder = (
            # fsspec keeps file systems, with the endpoint, the credentials and the listings of their first use.
            fsspec.core.url_to_fs(str(address), skip_instance_cache=True)
            if is_url
            else (fsspec.filesystem("file"), str(address))
        )

    def path(self, digest: str) -> str:
        """The path of an object, below the root."""
        return f"files/md5/{digest[:2]}/{digest[2:]}"

    def digests(self) -> list[str]:
        """The digests of all objects."""
        root = f"{self._folder}/files/md5"
        names = self._system.find(root) if self._system.exists(root) else []
        return sorted("".join(name.rsplit("/", 2)[1:]) for name in names)

    def has(self, digest: str) -> bool:
        """Whether the object exists."""
        return bool(self._system.exists(f"{self._folder}/{self.path(digest)}"))

    def is_intact(self, digest: str) -> bool:
        """Whether its bytes have its digest."""
        wanted = digest.removesuffix(FOLDER)
        try:
            place = f"{self._folder}/{self.path(digest)}"
            known = self._system.info(place)
            if str(known.get("ETag", "")).strip('"') == wanted:  # S3's md5, of what was sent in one piece
                return True
            with self._system.open(place, "rb") as stream:
                found = hashlib.md5(usedforsecurity=False)
                while block := stream.read(BLOCK):
                    found.update(block)
        except FileNotFoundError:
            return False
        return found.hexdigest() == wanted

    def file(self, path: str) -> bytes | None:
        """A file's bytes; None where there is none."""
        try:
            content: bytes = self._system.cat_file(f"{self._folder}/{path}")
        except FileNotFoundError:
            return None
        return content

    def write(self, path: str, content: bytes) -> None:
        """Write a file."""
        self._system.makedirs(f"{self._folder}/{path}".rpartition("/")[0], exist_ok=True)
        self._system.pipe_file(f"{self._folder}/{path}", content)

    def rename(self, path: str, other: str) -> None:
        """Rename a file; an existing one is replaced."""
        self._system.mv(f"{self._folder}/{path}", f"{self._folder}/{other}")

    def remove(self, digest: str) -> None:
        """Remove an object, if it exists."""
        if self.has(digest):
            self._system.rm_file(f"{self._folder}/{self.path(digest)}")


def stages_of(lock: bytes) -> dict[str, dict[str, object]] | None:
    """The stages of a dvc.lock; None for a broken one."""
    try:
        known = yaml.safe_load(lock)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    stages = known.get("stages") if isinstance(known, dict) else None
    whole = isinstance(stages, dict) and all(isinstance(stage, dict) and "cmd" in stage for stage in stages.values())
    return stages if whole else None


def objects(stages: dict[str, dict[str, object]], list_storage: ObjectStorage) -> Iterator[StoredObject]:
    """Every object that the stages' outputs name; a folder's files are read from its list in `list_storage`, if any."""
    for stage in stages.values():
        for out in msgspec.convert(stage.get("outs", []), list[dict[str, object]]):
            digest, file = str(out["md5"]), str(out["path"])
            yield StoredObject(digest, f"{file}/" if digest.endswith(FOLDER) else file)
            if digest.endswith(FOLDER) and list_storage.is_intact(digest):
                for entry in msgspec.json.decode(
                    list_storage.file(list_storage.path(digest)) or b"[]", type=list[_Entry]
                ):
                    yield StoredObject(entry.md5, f"{file}/{entry.relpath}", digest)


def file_names(found: list[StoredObject]) -> str:
    """The names of the objects' files, for a message."""
    files = list(dict.fromkeys(stored.file for stored in found))
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    return ", ".join(files[:5]) + more


def has_digest(file: Path, digest: str) -> bool:
    """Whether a file of the workspace has the object's digest."""
    return file.is_file() and hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() == digest
