"""The console's store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beacon_core.data.database import migrate, open_store


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty one, in the home `tmp_path`."""
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    yield engine
    engine.dispose()
