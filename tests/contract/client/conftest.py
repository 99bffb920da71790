"""Inference and the console as processes, over a month of predictions with drift; for two products."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.history import high_drift, month
from support.packages import release_package
from support.products import MIXED, SPEC
from support.server import CONSOLE, INFERENCE, serving

from beacon_core.data.database import migrate, open_store
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product


class Running(NamedTuple):
    """Where the two answer, and their product."""

    product: Product
    inference: str
    console: str


@contextlib.contextmanager
def running_product(file: Path, home: Path) -> Iterator[Running]:
    """Both services on one state folder."""
    product = load_product(file)
    release_package(home, product, explained=True)
    engine = open_store(f"sqlite:///{home / 'beacon.db'}")
    migrate(engine)
    month(engine, product, 1500, high_drift(product))
    engine.dispose()
    with serving(home, INFERENCE, product=file) as inference, serving(home, CONSOLE, product=file) as console:
        yield Running(product, inference.address, console.address)


@pytest.fixture(scope="session", params=[SPEC, MIXED], ids=["boston", "mixed"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_product(request.param, tmp_path_factory.mktemp("client")) as services:
        yield services
