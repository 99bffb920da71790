"""The console's store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from support.stores import new_store


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty one, in the home `tmp_path`."""
    with new_store("sqlite", tmp_path) as engine:
        yield engine
