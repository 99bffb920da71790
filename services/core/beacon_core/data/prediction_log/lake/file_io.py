"""Files of the lake as PyIceberg reads and writes them: in a folder they are on the disk when they are closed.

The catalog names a file as soon as that is written. Without a sync a power failure could leave a catalog, whose
database syncs, that names files which are empty.
"""

from pathlib import Path
from typing import Any, Self

from pyarrow.fs import AwsStandardS3RetryStrategy, LocalFileSystem, S3FileSystem
from pyiceberg.io import S3_ENDPOINT, S3_REGION, OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from beacon_core.platform.files import sync

CONNECT_SECONDS = 3
REQUEST_SECONDS = 30
S3_TRIES = 6
"""A request that S3 answers with 503 is tried so often, with waits that double: a quarter of a minute in all."""


class SyncedFileIO(PyArrowFileIO):
    """PyIceberg's files by PyArrow, synced in a folder; the name of this class is a property of the catalog."""

    def _initialize_s3_fs(self, _bucket: str | None) -> S3FileSystem:
        # PyIceberg's own has no way to write a file by one request. Three are slower, and Arrow 25 takes the 503 of the
        # last of them for the answer of its retry.
        return S3FileSystem(
            endpoint_override=self.properties.get(S3_ENDPOINT),
            region=self.properties.get(S3_REGION),
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=S3_TRIES),
            allow_delayed_open=True,
        )

    def new_output(self, location: str) -> PyArrowFile:
        file = super().new_output(location)
        return _SyncedFile(location, file._path, file._filesystem)


class _SyncedFile(PyArrowFile):
    def create(self, overwrite: bool = False) -> OutputStream:
        stream = super().create(overwrite)
        return _SyncedStream(stream, Path(self._path)) if isinstance(self._filesystem, LocalFileSystem) else stream


class _SyncedStream(OutputStream):
    """A stream whose file, and whose name, are on the disk when it is closed."""

    def __init__(self, stream: Any, path: Path) -> None:
        self._stream, self._path = stream, path
        self.closed = False

    def write(self, b: bytes) -> int:
        return int(self._stream.write(b))

    def flush(self) -> None:
        self._stream.flush()

    def tell(self) -> int:
        return int(self._stream.tell())

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._stream.close()
        sync(self._path)
        sync(self._path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
