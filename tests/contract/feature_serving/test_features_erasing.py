"""Erasure from the feature stores, of SQLite and of Redis: one entity goes, offline and online, and no other."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.data_files import data_path
from support.feature_homes import feature_home, features_of, fill_from_file, items, offline
from support.settings import Settings

from beacon_core.data.erasure import ErasedPlace, Subject
from beacon_core.domain.product import Product
from beacon_core.feature_store import repo
from beacon_core.feature_store.erasing import erase

pytestmark = pytest.mark.xdist_group("features")
GONE = "3"


class Stores(NamedTuple):
    settings: Settings
    product: Product

    def erase(self, entity: str = GONE, *, dry_run: bool = False) -> ErasedPlace:
        return erase(self.settings, self.product, None, Subject(entity=entity), dry_run=dry_run)  # type: ignore[arg-type]

    def served(self, *entities: int) -> list[dict[str, Any]]:
        with features_of(self.settings, self.product) as features:
            return features.read(*entities)


@pytest.fixture(params=["sqlite", "redis"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    product = items(tmp_path / "product")
    home = tmp_path / "home"
    home.mkdir()
    with feature_home(home, request.param) as settings:
        fill_from_file(settings, product)
        yield Stores(settings, product)


def test_one_entity_goes_from_both_stores(stores: Stores) -> None:
    key = stores.product.keys[0]
    before, rows = stores.served(2, 3, 30), len(offline(stores.settings))
    assert None not in before[1].values()
    counted = stores.erase(dry_run=True)
    assert counted.removed["features.parquet"] == 1
    assert counted.removed["online store"] > 0
    assert (stores.served(2, 3, 30), len(offline(stores.settings))) == (before, rows)

    assert stores.erase() == counted
    assert stores.served(2, 3, 30) == [before[0], dict.fromkeys(before[1]), before[2]]
    left = offline(stores.settings)
    assert len(left) == rows - 1
    assert int(GONE) not in set(left[key])
    (progress,) = data_path(stores.settings).parent.glob("*.progress.json")
    assert json.loads(progress.read_bytes())["rows"] == rows - 1

    again = stores.erase()
    assert not any(again.removed.values())
    assert again.remains == {}
    assert not any(stores.erase("4711").removed.values())


def test_what_is_pushed_after_an_erasure_comes_online(stores: Stores) -> None:
    """The file has fewer rows than the last materialization read: the next one takes no new row for an old one."""
    stores.erase()
    repo.materialize(stores.settings, stores.product)
    assert stores.served(3) == [dict.fromkeys(stores.product.feature_names)]
    with features_of(stores.settings, stores.product) as features:
        assert features.push(features.row(7, datetime.now(UTC), size=77.0), "offline").status == 200
    repo.materialize(stores.settings, stores.product)
    assert stores.served(7)[0]["size"] == 77.0
    assert stores.served(3) == [dict.fromkeys(stores.product.feature_names)]


def test_the_predictions_of_a_subject_are_not_in_the_feature_stores(stores: Stores) -> None:
    rows = len(offline(stores.settings))
    subject = Subject(ids=("a", GONE))
    assert erase(stores.settings, stores.product, None, subject, dry_run=False) == ErasedPlace()  # type: ignore[arg-type]
    assert len(offline(stores.settings)) == rows
