"""The store of promotion's unit tests."""

import pytest

from beacon_core.data.database import migrate, open_store


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    yield engine
    engine.dispose()
