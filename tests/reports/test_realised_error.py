"""The realised error that rolls models back: superseded actuals do not count, actuals of entities do."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, insert
from support.history import prediction_row
from support.packages import build_package
from unit.promotion.memory_target import MemoryTarget

from beacon_core.data.database import migrate, open_store
from beacon_core.data.evidence import EVERYTHING
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import Package, read_package
from beacon_core.model_package.release import package_folder
from beacon_promotion.analysis import watch
from beacon_promotion.analysis.judge import judge
from beacon_promotion.analysis.measurements import Labels, Measures
from beacon_promotion.analysis.sampled_requests import sample_requests
from beacon_promotion.analysis.scrape import ScrapedCounts

RELEASED = datetime(2026, 3, 1, 12, tzinfo=UTC)
PREDICTED = 20.0
OLD, NEW = "1", "2"

# id, minutes after the release, entity; and value, minutes, id, entity.
Asked = tuple[str, float, str | None]
Told = tuple[float, float, str | None, str | None]
Look = Callable[[list[Asked], list[Told]], Measures]

FORMS: dict[str, tuple[list[Asked], list[Told], tuple[int, float] | None]] = {
    "superseded, and of an entity: 35.0 was told": (
        [("a", 1, None), ("b", 1, "7")],
        [(85, 2, "a", None), (25, 2, "a", None), (25, 2, None, "7")],
        (2, 5.0),
    ),
    "superseded twice": ([("a", 1, None)], [(99, 2, "a", None), (60, 2, "a", None), (21, 2, "a", None)], (1, 1.0)),
    "superseded by a worse one": ([("a", 1, None)], [(20, 2, "a", None), (50, 2, "a", None)], (1, 30.0)),
    "of entities alone": ([("a", 1, "7"), ("b", 1, "8")], [(24, 2, None, "7"), (14, 2, None, "8")], (2, 5.0)),
    "of an entity, superseded": ([("a", 1, "7")], [(90, 2, None, "7"), (22, 2, None, "7")], (1, 2.0)),
    "of an entity, for its last prediction": (
        [("a", 1, "7"), ("b", 3, "7")],
        [(26, 5, None, "7"), (27, 6, None, "7")],
        (1, 6.0),
    ),
    "of an entity, for the old model's prediction": ([("old", -5, "7"), ("a", 3, "7")], [(90, 1, None, "7")], None),
    "for an id rather than for its entity": ([("a", 1, "7")], [(23, 2, "a", None), (90, 2, None, "7")], (1, 3.0)),
    "of an entity without a prediction": ([("a", 1, None), ("b", 1, "8")], [(90, 2, None, "7")], None),
}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    return engine


@pytest.fixture
def packages(tmp_path: Path, product: Product) -> dict[Pin, Package]:
    pins = [build_package(tmp_path / "models", product, version) for version in (OLD, NEW)]
    return {pin: read_package(package_folder(tmp_path / "models", pin), pin.sha256) for pin in pins}


@pytest.fixture
def look(engine: Engine, product: Product, packages: dict[Pin, Package]) -> Look:
    """One pass of the watch over a store with these rows; what "old" names was predicted by the old model."""

    def measures(asked: list[Asked], told: list[Told]) -> Measures:
        fill(engine, product, asked, told)
        old, new = packages
        target = MemoryTarget(packages, new)
        noted = watch.Watch("run", old, new, RELEASED, RELEASED + timedelta(hours=1), ScrapedCounts(), {})
        return watch.measure(target, product, engine, noted, "")

    return measures


def fill(engine: Engine, product: Product, asked: list[Asked], told: list[Told]) -> None:
    logged = []
    for number, (name, minutes, entity) in enumerate(asked):
        moment, version = RELEASED + timedelta(minutes=minutes), OLD if name.startswith("old") else NEW
        row = prediction_row(product, number, moment, version)
        logged.append(row | {"id": name, "entity": entity, "prediction": PREDICTED})
    known = [
        {"value": value, "observed_at": RELEASED + timedelta(minutes=minutes), "prediction_id": name, "entity": entity}
        for value, minutes, name, entity in told
    ]
    with engine.begin() as connection:
        connection.execute(insert(predictions), logged)
        connection.execute(insert(actuals), [row | {"received_at": RELEASED, "source": "test"} for row in known])


@pytest.mark.parametrize("form", FORMS)
def test_the_watch_counts_every_prediction_once_with_its_actual(form: str, look: Look) -> None:
    asked, told, expected = FORMS[form]
    labels = look(asked, told).labels
    assert (labels and (labels.rows, labels.new)) == expected


def test_the_old_models_error_is_counted_the_same_way(look: Look, packages: dict[Pin, Package]) -> None:
    """Counted too high it would have excused the new model."""
    least = next(iter(packages.values())).manifest.expected_absolute_error
    asked: list[Asked] = [("old-a", -9, None), ("old-b", -9, "7"), ("a", 1, None)]
    told: list[Told] = [(99, -5, "old-a", None), (25 + least, -5, "old-a", None), (25 + least, -5, None, "7")]
    labels = look(asked, [*told, (50, 2, "a", None)]).labels
    assert labels is not None
    assert labels.old == pytest.approx(5 + least)


def test_corrections_roll_no_good_model_back(look: Look, product: Product) -> None:
    """Every actual came wrong first; in the end the new model is as near to the truth as the old one."""
    few = product.policy.rollout.min_labels
    asked: list[Asked] = [(f"old-{number}", -9, None) for number in range(few)]
    asked += [(f"new-{number}", 1, None) for number in range(few)]
    told: list[Told] = [(25, -5, name, None) for name, minutes, _ in asked if minutes < 0]
    told += [(value, 2, name, None) for value in (85, 25) for name, minutes, _ in asked if minutes > 0]
    assert look(asked, told).labels == Labels(few, 5.0, 5.0)


def test_entities_roll_a_bad_model_back(look: Look, product: Product) -> None:
    """All actuals are of entities: when none was seen, a bad model stayed."""
    few = product.policy.rollout.min_labels
    asked: list[Asked] = [(f"new-{number}", 1, str(number)) for number in range(few)]
    measures = look(asked, [(80, 2, None, str(number)) for number in range(few)])
    assert measures.labels is not None
    assert (measures.labels.rows, measures.labels.new) == (few, 60.0)
    assert (
        judge(measures, product.policy.rollout, product.policy.serving.latency_slo_seconds).reason == "realised_error"
    )


def test_corrections_take_no_place_among_what_a_candidate_is_asked(
    engine: Engine, product: Product, packages: dict[Pin, Package]
) -> None:
    manifest = next(iter(packages.values())).manifest
    manifest = msgspec.structs.replace(manifest, created_at=(RELEASED - timedelta(days=1)).isoformat())
    asked: list[Asked] = [(f"p{number}", 1, None if number % 2 else str(number)) for number in range(20)]
    told: list[Told] = [
        (value, 2, name if entity is None else None, entity) for name, _, entity in asked for value in (85, 60, 40, 25)
    ]
    fill(engine, product, asked, told)
    rows = sample_requests(engine, EVERYTHING, product.schema, manifest, 40)
    assert [row.actual for row in rows if row.actual is not None] == [25.0] * 20
