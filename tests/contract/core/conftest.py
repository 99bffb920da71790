"""A migrated store on each database: what both of them must do alike takes the fixture `engine`."""

import pytest
from support.stores import new_store


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    with new_store(request.param, tmp_path) as engine:
        yield engine
