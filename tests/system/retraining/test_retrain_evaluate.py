"""Evaluate with real packages: a drifted world wants the new model, a weaker spec is refused, no news is a draw."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.settings import Settings

from beacon_core.data.database import migrate, open_store
from beacon_core.data.verdicts import newest, record
from beacon_core.domain.product import Product
from beacon_core.domain.verdict import GateCheck, Verdict, decode, encode
from beacon_core.model_package.manifest import Package
from beacon_retraining.data.dataset import Dataset, make_dataset
from beacon_retraining.data.validate import validate
from beacon_retraining.evaluation.evaluate import evaluate, plan_splits
from beacon_retraining.packaging.package import PackageOrigin, write_package
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import train

MADE = datetime(2025, 1, 1, tzinfo=UTC)
SETTINGS = Settings()


def quick(algorithm: str) -> TrainSettings:
    return TrainSettings(folds=3, repeats=1, coverage_folds=3, jobs=1, candidates=(algorithm,))


@pytest.fixture(scope="module")
def old_world(product: Product) -> Dataset:
    rows = validate(product.sample_path, product)
    times = np.full(len(rows), np.datetime64("2024-01-01", "us"))
    return make_dataset(
        product, rows[list(product.feature_names)].to_numpy(), rows[product.target.name].to_numpy(), times
    )


@pytest.fixture(scope="module")
def new_world(product: Product, old_world: Dataset) -> Dataset:
    """A year on: the same places, every home dearer by a quarter."""
    generator = np.random.default_rng(0)
    chosen = generator.integers(len(old_world.target), size=500)
    times = np.datetime64("2025-01-02", "us") + np.sort(generator.integers(0, 90 * 86400, 500)).astype("m8[s]")
    target = 1.25 * old_world.target[chosen] + generator.normal(0, 0.5, 500)
    return make_dataset(
        product,
        np.vstack([old_world.features, old_world.features[chosen]]),
        np.concatenate([old_world.target, target]),
        np.concatenate([old_world.times if old_world.times is not None else times[:0], times]),
    )


@pytest.fixture(scope="module")
def made(product: Product, tmp_path_factory: pytest.TempPathFactory):
    """A function that trains and packages: (dataset, candidate, version) -> package."""
    models = tmp_path_factory.mktemp("models")

    def make(dataset: Dataset, algorithm: str, version: str) -> Package:
        settings = quick(algorithm)
        trained = train(dataset, product, settings)
        return write_package(models, product, dataset, trained, settings, PackageOrigin(version, "sample", "abc", MADE))

    return make


def by_name(verdict: Verdict) -> dict[str, GateCheck]:
    return {check.name: check for check in verdict.checks}


def test_a_world_that_moved_wants_the_new_model_judged_on_rows_after_the_old(
    product: Product, old_world: Dataset, new_world: Dataset, made, tmp_path: Path
) -> None:
    champion, challenger = made(old_world, "kernel-ridge", "1"), made(new_world, "ridge", "2")
    verdict = evaluate(SETTINGS, product, new_world, challenger, champion, quick("ridge"))
    assert verdict.method == "backtest"
    assert verdict.rows == 400
    assert by_name(verdict)["parity"].outcome == "pass"
    assert by_name(verdict)["mae"].champion == pytest.approx(6, abs=1.5)
    again = made(new_world, "kernel-ridge", "3")
    verdict = evaluate(SETTINGS, product, new_world, again, champion, quick("kernel-ridge"))
    assert by_name(verdict)["mae"].outcome == "pass", verdict.reason
    assert by_name(verdict)["mae"].high < 1
    assert (verdict.challenger.version, verdict.champion.version) == ("3", "1")
    assert decode(encode(verdict)) == verdict
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    migrate(engine)
    record(engine, verdict)
    assert newest(engine, product.name, "3", again.sha256) == verdict
    assert newest(engine, product.name, "3", "0" * 64) is None
    engine.dispose()


def test_a_weaker_recipe_is_refused_on_folds_fair_to_both(product: Product, old_world: Dataset, made) -> None:
    champion, challenger = made(old_world, "kernel-ridge", "4"), made(old_world, "ridge", "5")
    verdict = evaluate(SETTINGS, product, old_world, challenger, champion, quick("ridge"))
    assert (verdict.method, verdict.rows, verdict.outcome) == ("cross-validation", 506, "fail")
    assert by_name(verdict)["mae"].low > 1
    back = evaluate(SETTINGS, product, old_world, champion, challenger, quick("kernel-ridge"))
    assert by_name(back)["mae"].number == pytest.approx(1 / by_name(verdict)["mae"].number)
    assert by_name(back)["mae"].outcome == "pass"


def test_what_training_held_out_gives_the_verdict_that_a_second_time_would(
    product: Product, old_world: Dataset
) -> None:
    settings = quick("kernel-ridge")
    trained = train(old_world, product, settings)
    with tempfile.TemporaryDirectory() as models:
        origin = PackageOrigin("12", "sample", "abc", MADE)
        package = write_package(Path(models), product, old_world, trained, settings, origin)
        held_out = trained.assessment.held_out
        anew, known = (
            evaluate(SETTINGS, product, old_world, package, None, settings, folded) for folded in ((), held_out)
        )
        other = msgspec.structs.replace(settings, seed=1)
        assert evaluate(SETTINGS, product, old_world, package, None, other, held_out).rows == 506
    assert by_name(known)["coverage"] == by_name(anew)["coverage"]
    assert by_name(known)["missing"].number == pytest.approx(by_name(anew)["missing"].number, rel=1e-9)
    assert by_name(known)["r2"].number == pytest.approx(by_name(anew)["r2"].number, rel=1e-9)
    worse = tuple(msgspec.structs.replace(part, predictions=part.predictions + 9) for part in held_out)
    assert evaluate(SETTINGS, product, old_world, package, None, settings, worse).outcome == "fail"


def test_the_same_recipe_on_the_same_rows_is_a_draw(product: Product, old_world: Dataset, made) -> None:
    champion = made(old_world, "kernel-ridge", "6")
    verdict = evaluate(SETTINGS, product, old_world, champion, champion, quick("kernel-ridge"))
    assert verdict.outcome == "inconclusive"
    assert by_name(verdict)["mae"].note == "both models answer alike"


def test_a_first_model_and_one_of_another_schema(product: Product, old_world: Dataset, made) -> None:
    challenger = made(old_world, "kernel-ridge", "7")
    first = evaluate(SETTINGS, product, old_world, challenger, None, quick("kernel-ridge"))
    assert (first.outcome, first.champion) == ("pass", None)
    schema = challenger.manifest.schema
    another = msgspec.structs.replace(schema, target=msgspec.structs.replace(schema.target, unit="EUR"))
    manifest = msgspec.structs.replace(challenger.manifest, schema=another)
    foreign = msgspec.structs.replace(challenger, manifest=manifest)
    verdict = evaluate(SETTINGS, product, old_world, challenger, foreign, quick("kernel-ridge"))
    assert (verdict.outcome, by_name(verdict)["schema"].outcome) == ("inconclusive", "inconclusive")
    assert verdict.reason.startswith("breaking schema change: ")


def test_a_package_that_is_not_what_its_recipe_makes_fails_parity(product: Product, old_world: Dataset, made) -> None:
    challenger, other = made(old_world, "kernel-ridge", "8"), made(old_world, "ridge", "9")
    swapped = msgspec.structs.replace(challenger, model=other.model)
    verdict = evaluate(SETTINGS, product, old_world, swapped, None, quick("kernel-ridge"))
    assert verdict.outcome == "fail"
    assert by_name(verdict)["parity"].outcome == "fail"


def test_a_challenger_of_other_data_is_refused(product: Product, old_world: Dataset, new_world: Dataset, made) -> None:
    with pytest.raises(ValueError, match="not on these"):
        evaluate(SETTINGS, product, new_world, made(old_world, "ridge", "10"), None, quick("ridge"))


def test_no_row_is_answered_by_what_has_seen_it_or_its_future(
    product: Product, old_world: Dataset, new_world: Dataset, made
) -> None:
    plan = plan_splits(product, new_world, made(old_world, "ridge", "11"), quick("ridge"))
    times = new_world.times
    assert times is not None
    tests = np.concatenate([test for _, test in plan.splits])
    assert len(np.unique(tests)) == len(tests) == 400
    assert (times[tests] > np.datetime64("2025-01-01")).all()
    for learnt, test in plan.splits:
        assert times[learnt].max() < times[test].min()
        assert len(learnt) > len(old_world.target)
