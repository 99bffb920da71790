"""Materialization of a whole table into an empty store, and once more over what is there."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.feature_homes import feature_home

from any_table.proposed import propose
from any_table.tables import Table
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.platform.settings import Settings
from beacon_core.sources.table import load_table
from beacon_retraining.data.offline import write_offline
from beacon_retraining.data.validate import validate_table

STORES = ("sqlite", "redis")


def measure(table: Table, folder: Path) -> dict[str, str]:
    """Entities per second by online store; Redis is the wheel's or this machine's, and left out without one."""
    product = propose(table, folder)
    rows = validate_table(load_table(product).table, product)
    found = {}
    for store in STORES:
        with ExitStack() as stack:
            (home := folder / store).mkdir()
            try:
                settings = stack.enter_context(feature_home(home, store))
            except pytest.skip.Exception as reason:
                found[store] = str(reason)
                continue
            write_offline(settings, product, rows, datetime.now(UTC))
            repo.apply(settings, product)
            first, again = (_entities_per_second(settings, product) for _ in range(2))
            found[store] = f"{first:,.0f}/s, over rows that are there {again:,.0f}/s"
    return found


def _entities_per_second(settings: Settings, product: Product) -> float:
    began = time.monotonic()
    done = repo.materialize(settings, product, everything=True)
    return done.rows / (time.monotonic() - began)
