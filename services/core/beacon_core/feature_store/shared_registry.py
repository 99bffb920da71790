"""Feast's registry as a shared file, for S3: two writers at once lose nothing, as the later one begins anew.

Feast reads the registry whole, changes it in memory and writes it whole.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from feast.infra.registry.registry_store import RegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.repo_config import RegistryConfig

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.platform.shared_files import Write, shared_file, to_bytes

TRIES = 10
ResultT = TypeVar("ResultT")


class RegistryChangedError(Exception):
    """Another process has written the registry since this one read it."""

    exit_status = TRY_AGAIN


class SharedRegistryStore(RegistryStore):
    """Where Feast's file registry is kept; Feast finds it by its name."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:  # noqa: ARG002 - as Feast calls it
        self._file = shared_file(str(registry_config.path))
        self._read: bytes | None = None

    def get_registry_proto(self) -> RegistryProto:
        """Read it; raises `FileNotFoundError` where there is none yet, as Feast expects."""
        with self._file.reading() as path:
            self._read = _content(path)
        if self._read is None:
            raise FileNotFoundError(self._file.address)
        found: RegistryProto = RegistryProto.FromString(self._read)
        return found

    def update_registry_proto(self, registry_proto: RegistryProto) -> None:
        """Write it; raises `RegistryChangedError` where another one has since the last read."""
        content = registry_proto.SerializeToString()

        def change(path: Path) -> Write:
            if _content(path) != self._read:
                raise RegistryChangedError(f"{self._file.address}: was changed by another process; try again")
            return to_bytes(content)

        self._file.update(change)
        self._read = content

    def teardown(self) -> None:
        """Nothing removes it: other services read it."""


def again_if_changed(work: Callable[[], ResultT]) -> ResultT:
    """Do what reads and writes the registry, anew where another one has written it meanwhile."""
    for _ in range(TRIES - 1):
        try:
            return work()
        except RegistryChangedError:
            continue
    return work()


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
