"""Candidates, imputation, intervals and ONNX: equal data give equal bytes, and both runtimes give equal answers."""

import msgspec
import numpy as np
import onnx
import pytest
from sklearn.impute import SimpleImputer

from beacon_core.domain.product import Product
from beacon_core.model_package.recipe import Member, Recipe
from beacon_core.model_package.session import open_session
from beacon_retraining.data.dataset import Dataset, make_dataset
from beacon_retraining.data.validate import validate
from beacon_retraining.packaging import export
from beacon_retraining.training.assess import assess
from beacon_retraining.training.effort import effort_of
from beacon_retraining.training.estimators import Blend, TableModel
from beacon_retraining.training.families import FAMILIES
from beacon_retraining.training.fitting import FittedModel, fit
from beacon_retraining.training.imputation import fit_fill, impute
from beacon_retraining.training.interval import Widths, covered, widths
from beacon_retraining.training.recipes import can_refit, offered, recipe_for
from beacon_retraining.training.search import plan_of
from beacon_retraining.training.selection import TrainingResult, choose, excess_over_best
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import NoApplicableModelError, compare, train

QUICK = TrainSettings(folds=4, repeats=2, coverage_folds=4, jobs=1, candidates=("ridge", "kernel-ridge"))
MIXED = Recipe(
    (
        Member("boosting", FAMILIES["boosting"].defaults, 0.5),
        Member("kernel-ridge", FAMILIES["kernel-ridge"].defaults, 0.5),
    ),
    "log",
)


def recipe_of(name: str, dataset: Dataset) -> Recipe:
    return MIXED if name == "blend" else recipe_for(name, dataset)


def checked(dataset: Dataset, model: FittedModel, features: np.ndarray | None = None) -> bytes:
    """The model as ONNX, at most half of the tolerance from scikit-learn."""
    rows = dataset.features if features is None else features
    columns = model.columns(rows, np.zeros(len(rows)))
    content = export.to_onnx(model.regressor, columns.shape[1])
    worst = export.check_parity(content, model.regressor, columns, dataset.spread)
    assert worst <= export.RELATIVE_TOLERANCE * dataset.spread / 2
    return content


@pytest.fixture(scope="module")
def dataset(product: Product) -> Dataset:
    rows = validate(product.sample_path, product)
    return make_dataset(product, rows[list(product.feature_names)].to_numpy(), rows[product.target.name].to_numpy())


def test_the_fill_values_are_scikit_learns(dataset: Dataset, product: Product) -> None:
    fill = fit_fill(dataset.features, product)
    for i, feature in enumerate(product.features):
        reference = SimpleImputer(strategy=feature.impute).fit(dataset.features[:, [i]])
        assert fill[i] == reference.statistics_[0]


def test_imputation_fills_gaps_only_and_gives_what_serving_gives(dataset: Dataset, product: Product) -> None:
    fill = fit_fill(dataset.features, product)
    filled = impute(dataset.features, fill)
    gaps = np.isnan(dataset.features)
    assert gaps.sum() == 120
    assert np.array_equal(filled[~gaps], dataset.features[~gaps])
    assert np.array_equal(filled[gaps], np.broadcast_to(fill, gaps.shape)[gaps])


def test_the_fingerprint_sees_every_value_and_nothing_else(dataset: Dataset, product: Product) -> None:
    again = make_dataset(product, dataset.features.copy(order="F"), dataset.target.copy())
    assert again.fingerprint == dataset.fingerprint
    negative_zero = np.where(dataset.features == 0, -0.0, dataset.features)
    assert make_dataset(product, negative_zero, dataset.target).fingerprint == dataset.fingerprint
    changed = dataset.features.copy()
    changed[505, 11] = np.nextafter(changed[505, 11], 0)
    assert make_dataset(product, changed, dataset.target).fingerprint != dataset.fingerprint
    assert make_dataset(product, dataset.features[::-1], dataset.target).fingerprint != dataset.fingerprint
    longer = np.vstack([dataset.features] * 2), np.tile(dataset.target, 2)
    assert make_dataset(product, *longer).fingerprint != dataset.fingerprint


@pytest.mark.parametrize("name", [*FAMILIES, "blend"])
def test_every_family_answers_alike_in_both_runtimes(name: str, dataset: Dataset) -> None:
    session = open_session(checked(dataset, fit(recipe_of(name, dataset), dataset, 0)))
    assert [(put.name, put.shape) for put in session.get_inputs()] == [("features", [None, 12])]
    assert [(put.name, put.shape) for put in session.get_outputs()] == [("prediction", [None, 1])]


@pytest.mark.parametrize("name", ["extra-trees", "boosting", "hist-boosting", "xgboost", "blend"])
def test_a_value_on_a_threshold_or_beside_it_takes_the_same_branch(name: str, dataset: Dataset) -> None:
    """Thresholds are doubles, values float32: rounded to float32, a threshold may come to lie beyond a value."""
    model = fit(recipe_of(name, dataset), dataset, 0)
    regressor = model.regressor.regressor_
    forest = regressor.members_[0][0] if name == "blend" else regressor
    trees = list(export._trees_of(forest, 1.0))[:20]
    inner = ~np.concatenate([tree.is_leaf for tree in trees])
    feature = np.concatenate([tree.feature for tree in trees])[inner].astype(int)
    threshold = np.concatenate([tree.threshold for tree in trees])[inner]
    near = threshold.astype(np.float32)
    beside = np.concatenate([near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))])
    rows = impute(dataset.features, model.fill)[np.arange(len(beside)) % len(dataset.features)]
    rows[np.arange(len(beside)), np.tile(feature, 3)] = beside
    if name != "xgboost":  # its thresholds are float32 themselves
        assert (near.astype(np.float64) > threshold).any()
        assert (near.astype(np.float64) < threshold).any()
    checked(dataset, model, rows)


@pytest.mark.parametrize("name", ["extra-trees", "boosting", "hist-boosting", "xgboost", "kernel-ridge", "blend"])
def test_more_rows_do_not_bring_the_runtimes_apart(name: str, dataset: Dataset, product: Product) -> None:
    """A forest's hundred leaves summed in float32 were off by more than the tolerance on 1,400 rows."""
    random = np.random.default_rng(100)
    chosen = random.integers(len(dataset.target), size=1400)
    blurred = dataset.features[chosen] * (1 + 0.01 * random.standard_normal((1400, 12)))
    larger = make_dataset(product, blurred, dataset.target[chosen])
    checked(larger, fit(recipe_of(name, larger), larger, 100))


def test_all_trees_of_a_blend_are_one_node(dataset: Dataset) -> None:
    """Serving pays for every node."""
    names = {"extra-trees": 0.25, "boosting": 0.25, "xgboost": 0.25, "kernel-ridge": 0.25}
    blend = Blend([(FAMILIES[name].make(FAMILIES[name].defaults, 0, None), share) for name, share in names.items()])
    fill = fit_fill(dataset.features, dataset.schema)
    columns = impute(dataset.features, fill).astype(np.float32).astype(np.float64)
    model = FittedModel(TableModel(blend, scale="log").fit(columns, dataset.target), fill, dataset.schema)
    kinds = [node.op_type for node in onnx.load_from_string(checked(dataset, model)).graph.node]
    assert kinds.count("TreeEnsembleRegressor") == 1


def test_the_same_data_and_seed_give_the_same_onnx(dataset: Dataset) -> None:
    def made(seed: int) -> bytes:
        return export.to_onnx(fit(MIXED, dataset, seed).regressor, 12)

    first = made(0)
    assert made(0) == first
    assert made(1) != first


def test_a_model_that_onnx_answers_differently_is_refused(dataset: Dataset) -> None:
    model = fit(recipe_for("ridge", dataset), dataset, 0)
    content = checked(dataset, model)
    model.regressor.mean_ += 0.001
    columns = model.columns(dataset.features, dataset.seconds)
    with pytest.raises(export.ParityError, match=r"ONNX differs from scikit-learn by 0\.001, at most 9.2e-05 may be"):
        export.check_parity(content, model.regressor, columns, dataset.spread)


def test_the_blend_is_the_weighted_mean_of_its_members_logarithms(dataset: Dataset) -> None:
    known, others = np.arange(400), slice(400, None)

    def predicted(name: str) -> np.ndarray:
        model = fit(recipe_of(name, dataset), dataset, 0, known)
        return model.predict(dataset.features[others], dataset.seconds[others])

    from_members = np.exp(sum(member.weight * np.log(predicted(member.family)) for member in MIXED.members))
    assert np.allclose(predicted("blend"), from_members, rtol=1e-12)


def test_widths_leave_the_same_share_out_on_each_side() -> None:
    residuals = np.concatenate([np.linspace(-1, 0, 500), np.linspace(0, 5, 500)])
    interval = widths(residuals, 0.9)
    assert interval.low == pytest.approx(0.9, abs=0.01)
    assert interval.high == pytest.approx(4.5, abs=0.05)
    assert covered(residuals, interval).mean() == pytest.approx(0.9, abs=0.01)


def test_few_residuals_give_wider_intervals_and_repeats_are_no_new_evidence() -> None:
    residuals = np.random.default_rng(0).normal(size=30)
    assert widths(residuals, 0.9).high >= float(np.quantile(residuals, 0.95, method="higher"))
    assert widths(np.stack([residuals] * 50), 0.9) == widths(residuals, 0.9)


def test_intervals_hold_what_they_say_on_new_draws() -> None:
    generator = np.random.default_rng(1)
    hits = []
    for _ in range(400):
        draws = generator.gamma(2.0, size=500) - 2.0
        hits.append(covered(draws[250:], widths(draws[:250], 0.9)).mean())
    assert np.mean(hits) == pytest.approx(0.9, abs=0.01)
    assert not covered(np.array([3.0, -3.0]), Widths(1.0, 1.0)).any()


def test_training_takes_the_better_model_and_covers_what_it_says(dataset: Dataset, product: Product) -> None:
    trained = train(dataset, product, QUICK)
    assert [result.name for result in trained.results] == ["ridge", "kernel-ridge"]
    assert trained.algorithm == "kernel-ridge"
    assert trained.result.rmse < 3.6 < trained.results[0].rmse
    # Of few rows the models inside are fitted to fewer still, and so their residuals and the intervals are wider.
    assert -0.02 < trained.measured_coverage - product.training.interval_coverage < 0.05
    assert product.feature_names[int(trained.importances.argmax())] in product.key_features
    again = train(dataset, product, QUICK)
    assert np.array_equal(again.result.held_out, trained.result.held_out)
    assert export.to_onnx(again.model, 12) == export.to_onnx(trained.model, 12)


def test_no_row_is_predicted_by_a_model_that_saw_it(dataset: Dataset, product: Product) -> None:
    """With a target that is pure noise, any leak would show as skill."""
    noise = np.exp(np.random.default_rng(2).normal(size=len(dataset.target)))
    shuffled = make_dataset(product, dataset.features, noise)
    assert all(result.r2 < 0.03 for result in compare(shuffled, product, QUICK, plan_of(product, QUICK)).results)
    ridge, effort = recipe_for("ridge", shuffled), effort_of(len(dataset.target), QUICK)
    assessment = assess(shuffled, product, ridge, effort=effort, seed=0, jobs=1)
    assert assessment.coverage == pytest.approx(0.9, abs=0.03)
    assert np.abs(assessment.importances).max() < 0.1 * assessment.rmse


def test_a_blend_is_measured_by_its_members_predictions(dataset: Dataset, product: Product) -> None:
    few = msgspec.structs.replace(QUICK, folds=2, repeats=2, candidates=("boosting", "kernel-ridge", "blend"))
    compared = compare(dataset, product, few, plan_of(product, few))
    held_out = {found.name: found.held_out for found in compared.results}
    members = compared.recipes["blend"].members
    assert {member.family for member in members} == {"boosting", "kernel-ridge"}
    assert sum(member.weight for member in members) == pytest.approx(1)
    mean = np.exp(sum(member.weight * np.log(held_out[member.family]) for member in members))
    assert np.array_equal(held_out["blend"], mean)
    errors = {found.name: found.pooled_rmse for found in compared.results}
    assert errors["blend"] == min(errors.values())


def test_kernels_are_left_out_where_there_are_too_many_rows_for_them(dataset: Dataset, product: Product) -> None:
    """Their time grows with the cube of the rows."""
    many = np.arange(4001) % len(dataset.target)
    grown = make_dataset(product, dataset.features[many], dataset.target[many])
    names = tuple(FAMILIES)
    assert [family.name for family in offered(names, grown, {})] == ["ridge", "hist-boosting", "xgboost"]
    assert {*names} - {family.name for family in offered(names, dataset, {})} == {"hist-boosting"}
    only = msgspec.structs.replace(QUICK, candidates=("kernel-ridge",))
    with pytest.raises(NoApplicableModelError, match="kernel-ridge can be fitted to these 4001 rows"):
        train(grown, product, only)


def test_a_target_of_zero_is_predicted_without_logarithms(dataset: Dataset, product: Product) -> None:
    target = dataset.target.copy()
    target[0] = 0
    other = make_dataset(product, dataset.features, target)
    assert [recipe_for(name, dataset).scale for name in ("ridge", "kernel-ridge")] == ["none", "log"]
    assert recipe_for("kernel-ridge", other).scale == "none"
    assert can_refit(MIXED, dataset)
    assert not can_refit(MIXED, other)
    trained = train(other, product, QUICK)
    assert [result.name for result in trained.results] == ["ridge", "kernel-ridge"]


def results_with(errors: dict[str, np.ndarray]) -> tuple[TrainingResult, ...]:
    """Results of candidates whose predictions of a target of zero are `errors`."""
    figures = dict.fromkeys(("rmse", "rmse_spread", "mae", "mae_spread", "r2", "r2_spread"), 0.0)
    return tuple(
        TrainingResult(
            name=name,
            pooled_rmse=float(np.sqrt(np.mean(error**2))),
            rows=np.arange(len(error)),
            held_out=error[None, :],
            **figures,
        )
        for name, error in errors.items()
    )


def test_the_simplest_within_one_standard_error_is_taken_unless_the_gain_is_clear() -> None:
    noise = np.random.default_rng(3).normal(size=1000)
    target = np.zeros(1000)
    alike = results_with({"simple": np.where(np.arange(1000) % 2, 1.01, 0.99) * noise, "complex": noise * 0.9999})
    assert choose(alike, excess_over_best(alike, target)).name == "simple"
    better = results_with({"simple": noise * 1.2, "complex": noise})
    excess = excess_over_best(better, target)
    assert choose(better, excess).name == "complex"
    assert excess["complex"] == (0.0, 0.0)
    assert excess["simple"][0] == pytest.approx(0.44 * np.mean(noise**2))


def test_a_simpler_model_costs_at_most_a_hundredth_of_the_error_however_wide_chance_is() -> None:
    """On 20 rows, some of which the simpler model predicts better, one standard error hides a tenth."""
    target, ups = np.zeros(20), np.where(np.arange(20) % 2, 1.4, 0.6)
    for factor, expected in ((1.0, "complex"), (0.935, "simple")):
        results = results_with({"simple": factor * ups, "complex": np.ones(20)})
        excess = excess_over_best(results, target)
        assert excess["simple"][0] <= excess["simple"][1]
        assert choose(results, excess).name == expected


def test_what_is_assessed_is_counted_on_held_out_rows(dataset: Dataset, product: Product) -> None:
    """A feature of pure noise is worth nothing, a good one much; more gaps cost more."""
    features = dataset.features.copy()
    features[:, product.feature_names.index("ZN")] = np.random.default_rng(4).normal(size=len(features))
    noisy = make_dataset(product, features, dataset.target)
    assessment = assess(
        noisy, product, recipe_for("kernel-ridge", noisy), effort=effort_of(len(dataset.target), QUICK), seed=0, jobs=1
    )
    worth = dict(zip(product.feature_names, assessment.importances, strict=True))
    assert abs(worth["ZN"]) < 0.1
    assert worth["LSTAT"] > 1
    assert dict(zip(product.feature_names, assessment.absent, strict=True))["LSTAT"] > 0.3
    assert assessment.rmse < assessment.missing[0.1] < assessment.missing[0.3]
