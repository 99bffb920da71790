"""The room on volumes, as it is at each scrape."""

import math
import shutil
from pathlib import Path

from prometheus_client import CollectorRegistry

from beacon_core.data.database import migrate, open_store
from beacon_core.data.size import database_bytes
from beacon_core.observability.volumes import watch_volumes


def test_a_folder_that_is_not_there_yet_has_the_room_of_its_parent(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    watch_volumes({"spool": tmp_path / "not" / "yet"}, registry)
    size, free = (
        registry.get_sample_value(f"beacon_volume_{kind}_bytes", {"volume": "spool"}) for kind in ("size", "free")
    )
    assert size is not None
    assert free is not None
    assert math.isclose(size, shutil.disk_usage(tmp_path).total, rel_tol=0.01)
    assert 0 < free <= size


def test_a_database_is_as_large_as_its_file(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        assert database_bytes(connection) == (tmp_path / "beacon.db").stat().st_size
    engine.dispose()
