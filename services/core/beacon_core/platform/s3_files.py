"""Shared files in a bucket of any S3; AWS_ENDPOINT_URL and its like say where that is, and who we are.

What was read lies in a folder of this process. An object is replaced only if it is still the one that was read
(If-Match), so that a writer who was overtaken reads again; a server that does not know such conditions is refused.
"""

import atexit
import contextlib
import fnmatch
import functools
import hashlib
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beacon_core.platform.locks import wait_for
from beacon_core.platform.s3_client import MISSING, OVERTAKEN, check_conditions, code_of, mapped_errors
from beacon_core.platform.shared_files import Change, SharedFile, SharedFilesUnavailableError

TRIES = 20
"""So often a writer begins anew because another one was faster."""
BLOCK = 1 << 20
ADDRESS = ".address"
OPENING = threading.Lock()


class S3File:
    """An object of a bucket: `address` is s3://BUCKET/KEY."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._bucket, _, self._key = address.removeprefix("s3://").partition("/")
        folder = _copies(os.getpid()) / hashlib.sha256(address.encode()).hexdigest()[:16]
        folder.mkdir(exist_ok=True)
        (folder / ADDRESS).write_text(address, "utf-8")
        self._copy, self._draft = folder / self.name, folder / ".draft"
        self._etag, self._lock = folder / ".etag", folder / ".lock"

    @property
    def name(self) -> str:
        return self._key.rpartition("/")[2]

    def exists(self) -> bool:
        return bool(self.version())

    def version(self) -> str:
        with self._errors() as client:
            try:
                return str(client.head_object(Bucket=self._bucket, Key=self._key)["ETag"])
            except client.exceptions.ClientError as error:
                if code_of(error) not in MISSING:
                    raise
                client.head_bucket(Bucket=self._bucket)  # whose absence is another matter
                return ""

    @contextlib.contextmanager
    def reading(self) -> Iterator[Path]:
        with wait_for(self._lock):
            self._refresh()
        with wait_for(self._lock, shared=True):
            yield self._copy

    def update(self, change: Change, *, durable: bool = True) -> None:  # noqa: ARG002 - an object always is
        check_conditions(self._bucket, self._prefix)
        for number in range(TRIES):
            with wait_for(self._lock):
                etag = self._refresh()
                write = change(self._copy)
                if write is None:
                    return
                write(self._draft)
                if self._put(etag):
                    return
            time.sleep(random.uniform(0.01, 0.04 * (number + 1)))  # noqa: S311 - so that two do not meet again
        raise SharedFilesUnavailableError(f"BEACON_FILES: {self.address}: others write it all the time; try again")

    def sibling(self, name: str) -> SharedFile:
        return S3File(f"s3://{self._bucket}/{self._prefix}{name}")

    def beside(self, pattern: str) -> list[SharedFile]:
        with self._errors() as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            keys = [found["Key"].removeprefix(self._prefix) for page in pages for found in page.get("Contents", ())]
        return [self.sibling(key) for key in sorted(keys) if "/" not in key and fnmatch.fnmatchcase(key, pattern)]

    def forget_old_copy(self) -> None:
        """Delete the copy where the object is another one by now, or is gone."""
        if self._copy.exists():
            with wait_for(self._lock):
                if self._known() != self.version():
                    self._forget()

    @property
    def _prefix(self) -> str:
        folder, slash, _ = self._key.rpartition("/")
        return folder + slash

    def _known(self) -> str:
        """The ETag of the copy; empty without one."""
        return self._etag.read_text("utf-8") if self._copy.is_file() and self._etag.is_file() else ""

    def _forget(self) -> None:
        for file in (self._etag, self._copy, self._draft):
            file.unlink(missing_ok=True)

    def _refresh(self) -> str:
        """Let the copy be of the object as it is; its ETag, empty without an object."""
        etag = self.version()
        if etag != self._known():
            self._forget()
            etag = self._fetch() if etag else ""
        return etag

    def _fetch(self) -> str:
        with self._errors() as client:
            try:
                found = client.get_object(Bucket=self._bucket, Key=self._key)
            except client.exceptions.NoSuchKey:
                return ""
            with self._draft.open("wb") as stream:
                for block in found["Body"].iter_chunks(BLOCK):
                    stream.write(block)
        return self._keep(str(found["ETag"]))

    def _put(self, etag: str) -> bool:
        """Replace the object by the draft, if it is still that of `etag`; whether it was."""
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        with self._errors() as client, self._draft.open("rb") as stream:
            try:
                done = client.put_object(Bucket=self._bucket, Key=self._key, Body=stream, **condition)
            except client.exceptions.ClientError as error:
                if code_of(error) not in OVERTAKEN:
                    raise
                return False
        self._keep(str(done["ETag"]))
        return True

    def _keep(self, etag: str) -> str:
        """Let the draft be the copy."""
        self._etag.unlink(missing_ok=True)
        self._draft.replace(self._copy)
        self._etag.write_text(etag, "utf-8")
        return etag

    def _errors(self) -> contextlib.AbstractContextManager[Any]:
        return mapped_errors(self.address)


def forget_old_copies() -> None:
    """Delete the copies of this process whose objects are others by now: an erased entity may be in them."""
    for known in _copies(os.getpid()).glob(f"*/{ADDRESS}"):
        S3File(known.read_text("utf-8")).forget_old_copy()


def _copies(pid: int) -> Path:
    """The folder with the copies of this process, which goes with it; those of killed processes go here."""
    with OPENING:
        return _made(pid)


@functools.cache
def _made(pid: int) -> Path:
    place = Path(tempfile.gettempdir())
    for left in place.glob("beacon-files-*"):
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(left.name.rpartition("-")[2]), 0)
            if left.name != f"beacon-files-{pid}":
                continue
        shutil.rmtree(left, ignore_errors=True)
    folder = place / f"beacon-files-{pid}"
    folder.mkdir(mode=0o700)
    atexit.register(_remove, folder, pid)
    return folder


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # a fork has its parent's list of what to do at its end
        shutil.rmtree(folder, ignore_errors=True)
