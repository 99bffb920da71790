"""One deployment for all parts; DEPLOYED=1 keeps what is there, so that a part can be run by itself."""

import os
from collections.abc import Iterator

import pytest
from system.e2e_promotion import world


@pytest.fixture(scope="session", autouse=True)
def product() -> None:
    """Inference and its promotion, which has taken note of what serves."""
    if not os.environ.get("DEPLOYED"):
        world.set_up()
    run = world.promote("first")
    assert run.status == 0, run.output
    assert world.inconsistencies() == []


@pytest.fixture(scope="session")
def models(product: None) -> Iterator[world.Models]:
    """Where models come from, good and bad."""
    with world.models() as found:
        yield found
