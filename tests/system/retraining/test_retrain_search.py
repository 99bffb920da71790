"""The search: equal inputs give an equal model, a killed one goes on, and a bad trial ends alone."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from beacon_core.domain.product import Product, parse_product
from beacon_core.model_package.recipe import Member, Recipe
from beacon_core.model_package.session import open_session
from beacon_retraining.data.dataset import Dataset, make_dataset
from beacon_retraining.packaging import export
from beacon_retraining.training import search
from beacon_retraining.training.crossval import Task
from beacon_retraining.training.families import FAMILIES
from beacon_retraining.training.fitting import fit
from beacon_retraining.training.journal import JOURNAL_FILE, JournalFile
from beacon_retraining.training.recipes import recipe_for
from beacon_retraining.training.search import plan_of
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import Compared, compare, train
from beacon_retraining.training.trial_processes import TimedTask, TrialProcesses

ROWS = 240
SEARCHING = TrainSettings(
    folds=4, repeats=1, coverage_folds=3, jobs=2, trials=9, candidates=("ridge", "xgboost", "blend")
)


def product_of(**training: object) -> Product:
    features = {name: {"type": "float"} for name in ("a", "b", "c")}
    raw = {"name": "made", "source": {"file": "x.csv"}, "target": {"name": "y"}, "features": features}
    return parse_product(Path("product.yaml"), raw | {"training": training}, lambda _: None)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return table(lambda a, b, c, noise: a * b + np.abs(c) + 0.3 * noise)


def table(rule, rows: int = ROWS, **training: object) -> Dataset:
    random = np.random.default_rng(0)
    features = random.normal(size=(rows, 3))
    return make_dataset(product_of(**training), features, rule(*features.T, random.normal(size=rows)))


def searched(
    dataset: Dataset, settings: TrainSettings, journal: JournalFile | None = None, **training: object
) -> Compared:
    product = product_of(**training)
    return compare(dataset, product, settings, plan_of(product, settings), journal)


@pytest.fixture(scope="module")
def first(dataset: Dataset) -> Compared:
    return searched(dataset, SEARCHING)


def test_equal_inputs_give_equal_trials_with_one_process_or_two(dataset: Dataset, first: Compared) -> None:
    assert [trial.number for trial in first.trials] == list(range(9))
    alone = searched(dataset, msgspec.structs.replace(SEARCHING, jobs=1))
    assert alone.recipes == first.recipes
    assert [(t.recipe, t.state, t.score) for t in alone.trials] == [(t.recipe, t.state, t.score) for t in first.trials]
    other = searched(dataset, msgspec.structs.replace(SEARCHING, seed=1))
    assert other.recipes != first.recipes


def test_no_family_gets_more_trials_than_it_may(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_TRIALS", 4)
    planned = msgspec.structs.replace(SEARCHING, trials=None, budget_seconds=30.0)
    assert searched(dataset, planned).summary.trials == 4, "XGBoost's: ridge has nothing to tune"


def test_tuning_is_no_worse_than_the_families_as_they_come(first: Compared) -> None:
    errors = {result.name: result.pooled_rmse for result in first.results}
    assert errors["blend"] <= min(errors["xgboost"], errors["xgboost tuned"])


def test_a_budget_is_planned_by_cost_and_one_too_small_tunes_nothing(dataset: Dataset, caplog) -> None:
    planned = msgspec.structs.replace(SEARCHING, trials=None, budget_seconds=2.0)
    found = searched(dataset, planned)
    assert 2 < found.summary.trials < 60
    assert found.summary.planned_seconds < 5, "2 s of two cores, and at most one trial more"
    again = searched(dataset, msgspec.structs.replace(planned, budget_seconds=None, trials=found.summary.trials))
    assert [trial.recipe for trial in again.trials] == [trial.recipe for trial in found.trials]
    nothing = searched(dataset, msgspec.structs.replace(planned, budget_seconds=0.01))
    assert nothing.summary.trials == 0
    assert "training.budget_seconds: 0.01 is too little for one trial" in caplog.text


def test_kill_9_in_the_middle_goes_on_where_it_ended(dataset: Dataset, first: Compared, tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / JOURNAL_FILE, "code")
    process = multiprocessing.get_context("spawn").Process(target=searched, args=(dataset, SEARCHING, journal))
    process.start()
    deadline = time.monotonic() + 60
    while not (journal.file.exists() and journal.file.stat().st_size > 6_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.join()
    size = journal.file.stat().st_size
    assert size > 6_000
    _gone, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive, "the workers end with their parent"
    with journal.file.open("ab") as stream:
        stream.write(b"\x40\0\0\0half a record")
    begun = time.monotonic()
    resumed = searched(dataset, SEARCHING, journal)
    assert resumed.recipes == first.recipes
    assert journal.file.stat().st_size > size
    done = journal.file.stat().st_size
    assert searched(dataset, SEARCHING, journal).recipes == first.recipes
    assert journal.file.stat().st_size == done, "every fit was there"
    assert time.monotonic() - begun < 120
    searched(dataset, SEARCHING, JournalFile(journal.file, "other code"))
    assert journal.file.stat().st_size == pytest.approx(done, rel=0.01), "begun anew"


def hanging(dataset: Dataset) -> Task:
    """A fit of half an hour."""
    rows = np.arange(len(dataset.target))
    parameters = FAMILIES["boosting"].defaults | {"n_estimators": 1_000_000}
    return Task(Recipe((Member("boosting", parameters),)), (rows, rows[:20]))


def good(dataset: Dataset) -> Task:
    rows = np.arange(len(dataset.target))
    return Task(recipe_for("ridge", dataset), (rows, rows[:20]))


def test_a_fit_that_hangs_or_raises_is_ended_and_the_others_go_on(dataset: Dataset) -> None:
    wrong = msgspec.structs.replace(good(dataset), recipe=Recipe((Member("boosting", {"max_depth": "deep"}),)))
    tasks = [TimedTask(hanging(dataset), 2.0), *(TimedTask(task, 60.0) for task in (wrong, good(dataset)))]
    with TrialProcesses(dataset, 0, 2) as processes:
        found = dict(processes.run(tasks))
        assert found[0].failure == "took more than 2 s, and was ended"
        assert "max_depth" in found[1].failure
        assert len(found[2].predictions) == 20
        assert dict(processes.run(tasks[2:]))[0].failure == "", "a new process is in its place"


def test_a_fit_that_eats_memory_or_is_killed_is_ended(dataset: Dataset) -> None:
    with TrialProcesses(dataset, 0, 1, most_bytes=1e6) as processes:
        assert "of memory" in dict(processes.run([TimedTask(hanging(dataset), 60.0)]))[0].failure
    with TrialProcesses(dataset, 0, 1) as processes:
        threading.Thread(
            target=lambda: (time.sleep(4), os.kill(processes._workers[0].process._process.pid, signal.SIGKILL))
        ).start()
        found = dict(processes.run([TimedTask(hanging(dataset), 60.0), TimedTask(good(dataset), 60.0)]))
    assert found[0].failure == "its process ended with status -9"
    assert not found[1].failure


def test_counts_with_zeros_try_poisson_and_tweedie_losses() -> None:
    counts = table(lambda a, b, c, noise: np.random.default_rng(1).poisson(np.exp(0.8 * a + 0.5 * b)).astype(float))
    settings = msgspec.structs.replace(SEARCHING, trials=12, candidates=("xgboost",))
    found = searched(counts, settings)
    losses = {str(trial.recipe.members[0].parameters.get("loss", "squared")) for trial in found.trials}
    assert losses == {"squared", "poisson", "tweedie"}
    assert all(
        (trial.recipe.scale == "link") == ("loss" in trial.recipe.members[0].parameters) for trial in found.trials
    )
    best = next(trial.recipe for trial in found.trials if trial.recipe.scale == "link" and trial.state == "complete")
    model = fit(best, counts, 0)
    columns = model.columns(counts.features, counts.seconds)
    content = export.to_onnx(model.regressor, 3)
    export.check_parity(content, model.regressor, columns, counts.spread)
    assert (export.run_all(open_session(content), columns) > 0).all()


@pytest.mark.parametrize("name", ["xgboost", "hist-boosting"])
def test_monotone_features_never_lower_the_prediction(name: str) -> None:
    rough = table(lambda a, b, c, noise: np.sin(3 * a) + a + b + noise, 600)
    free, held = (fit(recipe_for(name, rough, monotone), rough, 0) for monotone in ({}, {"a": "up", "b": "down"}))
    steps = []
    for model in (free, held):
        moved = np.repeat(rough.features[:40], 50, axis=0)
        moved[:, 0] = np.tile(np.linspace(-2, 2, 50), 40)
        rises = np.diff(model.predict(moved, np.zeros(len(moved))).reshape(40, 50), axis=1)
        steps.append(float(rises.min()))
    assert steps[0] < -0.1
    assert steps[1] >= 0


def test_monotone_features_offer_only_families_that_hold_them(dataset: Dataset) -> None:
    product = product_of(monotone={"a": "up"})
    found = train(dataset, product, TrainSettings(folds=3, repeats=1, coverage_folds=3, jobs=1))
    assert {name.split()[0] for name in (result.name for result in found.results)} <= {
        "hist-boosting",
        "xgboost",
        "blend",
    }
    assert found.recipe.monotone == {"a": "up"}


def test_the_metric_is_what_the_search_makes_small(dataset: Dataset) -> None:
    """With a few wild rows the smallest absolute error is another model's than the smallest squared one."""
    wild = table(lambda a, b, c, noise: a * b + np.abs(c) + np.where(np.abs(noise) > 2.2, 30 * noise, 0.2 * noise))
    settings = msgspec.structs.replace(SEARCHING, trials=8, candidates=("ridge", "xgboost"))
    by_mae, by_rmse = (searched(wild, settings, metric=metric) for metric in ("mae", "rmse"))
    assert min(result.mae for result in by_mae.results) < min(result.mae for result in by_rmse.results)
    assert any(trial.recipe.members[0].parameters.get("loss") == "absolute" for trial in by_mae.trials)
