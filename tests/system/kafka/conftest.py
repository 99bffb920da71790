"""A broker that no test of a module breaks."""

from collections.abc import Iterator

import pytest
from support.kafka import Broker, broker


@pytest.fixture(scope="module")
def kafka() -> Iterator[Broker]:
    """A running broker; each test has a topic of its own."""
    with broker() as found:
        yield found
