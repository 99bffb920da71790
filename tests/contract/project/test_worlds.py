"""The worlds of the gate's check are of any product: of numbers alone, and of one with a feature of each type."""

from pathlib import Path

import numpy as np
import pytest
from retraining.base import training_rows
from retraining.world import Drift, World
from support.products import MIXED, SPEC

from beacon_core.platform.product_file import load_product
from beacon_retraining.data.dataset import dataset_of
from beacon_retraining.data.validate import valid_rows

DAYS, PER_DAY = 20, 4


@pytest.mark.parametrize("file", [SPEC, MIXED], ids=["boston", "mixed"])
def test_a_world_is_of_any_product(file: Path) -> None:
    product = load_product(file)
    world = World(product, (Drift(begin=5, end=10, level=0.5), Drift(begin=12, end=14, faded=(0.9,))))
    history = world.history(0, DAYS, PER_DAY)
    rows = training_rows(product, history)
    assert len(rows) == len(world.base.target) + DAYS * PER_DAY
    assert valid_rows(rows, product).all()
    assert history.fingerprint == world.history(0, DAYS, PER_DAY).fingerprint
    again = dataset_of(product, rows)
    same = [at for at, feature in enumerate(product.features) if not feature.has_many_levels]  # numbered by frequency
    assert np.array_equal(again.features[:, same], history.features[:, same], equal_nan=True)
    early = world.until(history, 5)
    assert len(world.base.target) < len(early.target) < len(history.target)
    cases = world.draw(np.random.default_rng(1), np.zeros(200))
    before, risen, faded = (world.targets(cases, np.full(200, day)) for day in (0.0, 11.0, 20.0))
    assert np.allclose(risen - before, 0.5 * world.base.spread)
    assert not np.allclose(faded, risen, atol=0.05 * world.base.spread)
