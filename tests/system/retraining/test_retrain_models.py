"""Candidates, imputation, intervals and ONNX: equal data give equal bytes, and both runtimes give equal answers."""

import msgspec
import numpy as np
import onnx
import pytest
from sklearn.ensemble import VotingRegressor
from sklearn.impute import SimpleImputer

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, make_dataset
from beacon_retraining.data.validate import validate
from beacon_retraining.packaging import export
from beacon_retraining.training.assess import assess
from beacon_retraining.training.candidates import BLEND, CANDIDATES, Candidate, LogTarget, _boosting, _forest, _kernel
from beacon_retraining.training.imputation import fit_fill, impute
from beacon_retraining.training.interval import Widths, covered, widths
from beacon_retraining.training.settings import TrainSettings
from beacon_retraining.training.train import NoSuitableCandidateError, Result, behind_best, choose, compare, train

QUICK = TrainSettings(folds=4, repeats=2, coverage_folds=4, jobs=1, candidates=("ridge", "kernel-ridge"))
BY_NAME = {candidate.name: candidate for candidate in CANDIDATES}


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
    assert np.array_equal(filled[~gaps], dataset.features[~gaps].astype(np.float32).astype(np.float64))
    assert np.array_equal(filled[gaps], np.broadcast_to(fill, gaps.shape)[gaps].astype(np.float32).astype(np.float64))


def test_the_fingerprint_sees_every_value_and_nothing_else(dataset: Dataset, product: Product) -> None:
    again = make_dataset(product, dataset.features.copy(order="F"), dataset.target.copy())
    assert again.fingerprint == dataset.fingerprint
    negative_zero = np.where(dataset.features == 0, -0.0, dataset.features)
    assert make_dataset(product, negative_zero, dataset.target).fingerprint == dataset.fingerprint
    changed = dataset.features.copy()
    changed[505, 11] = np.nextafter(changed[505, 11], 0)
    assert make_dataset(product, changed, dataset.target).fingerprint != dataset.fingerprint
    assert make_dataset(product, dataset.features[::-1], dataset.target).fingerprint != dataset.fingerprint
    longer = Dataset(np.vstack([dataset.features] * 2), np.tile(dataset.target, 2), "")
    assert make_dataset(product, longer.features, longer.target).fingerprint != dataset.fingerprint


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)
def test_every_candidate_answers_alike_in_both_runtimes(
    candidate: Candidate, dataset: Dataset, product: Product
) -> None:
    features = impute(dataset.features, fit_fill(dataset.features, product))
    model = candidate.build(0).fit(features, dataset.target)
    content = export.to_onnx(model, features.shape[1])
    assert export.check_parity(content, model, features) <= export.TOLERANCE / 3
    session = export.open_session(content)
    assert [(put.name, put.shape) for put in session.get_inputs()] == [("features", [None, 12])]
    assert [(put.name, put.shape) for put in session.get_outputs()] == [("prediction", [None, 1])]


@pytest.mark.parametrize("name", ["extra-trees", "boosting", "blend"])
def test_a_value_on_a_threshold_or_beside_it_takes_the_same_branch(
    name: str, dataset: Dataset, product: Product
) -> None:
    """Thresholds are doubles, values float32: rounded to float32, a threshold may come to lie beyond a value."""
    features = impute(dataset.features, fit_fill(dataset.features, product))
    model = BY_NAME[name].build(0).fit(features, dataset.target)
    voters = getattr(model.regressor_, "estimators_", [])
    forest = model.regressor_ if name != "blend" else next(voter for voter in voters if hasattr(voter, "estimators_"))
    trees = [tree.tree_ for tree in np.ravel(forest.estimators_)[:20]]
    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])[feature >= 0]
    feature = feature[feature >= 0]
    near = threshold.astype(np.float32)
    beside = np.concatenate([near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))])
    rows = features[np.arange(len(beside)) % len(features)]
    rows[np.arange(len(beside)), np.tile(feature, 3)] = beside
    assert (near.astype(np.float64) > threshold).any()
    assert (near.astype(np.float64) < threshold).any()
    assert export.check_parity(export.to_onnx(model, 12), model, rows) <= export.TOLERANCE / 3


@pytest.mark.parametrize("name", ["extra-trees", "boosting", "kernel-ridge", "blend"])
def test_more_rows_do_not_bring_the_runtimes_apart(name: str, dataset: Dataset, product: Product) -> None:
    """A forest's hundred leaves summed in float32 were off by more than the tolerance on 1,400 rows."""
    random = np.random.default_rng(100)
    chosen = random.integers(len(dataset.target), size=1400)
    blurred = dataset.features[chosen] * (1 + 0.01 * random.standard_normal((1400, 12)))
    features = impute(blurred, fit_fill(blurred, product))
    model = BY_NAME[name].build(100).fit(features, dataset.target[chosen])
    assert export.check_parity(export.to_onnx(model, 12), model, features) <= export.TOLERANCE / 3


def test_all_trees_of_a_blend_are_one_node(dataset: Dataset, product: Product) -> None:
    """Serving pays for every node."""
    features = impute(dataset.features, fit_fill(dataset.features, product))
    blend = LogTarget(VotingRegressor([("a", _forest(0)), ("b", _boosting(0)), ("c", _kernel(0))], weights=[1, 2, 1]))
    model = blend.fit(features, dataset.target)
    content = export.to_onnx(model, 12)
    kinds = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert kinds.count("TreeEnsembleRegressor") == 1
    assert export.check_parity(content, model, features) <= export.TOLERANCE / 3


def test_the_same_data_and_seed_give_the_same_onnx(dataset: Dataset, product: Product) -> None:
    features = impute(dataset.features, fit_fill(dataset.features, product))

    def made(seed: int) -> bytes:
        return export.to_onnx(BY_NAME["blend"].build(seed).fit(features, dataset.target), features.shape[1])

    first = made(0)
    assert made(0) == first
    assert made(1) != first


def test_a_model_that_onnx_answers_differently_is_refused(dataset: Dataset, product: Product) -> None:
    features = impute(dataset.features, fit_fill(dataset.features, product))
    model = BY_NAME["ridge"].build(0).fit(features, dataset.target)
    content = export.to_onnx(model, features.shape[1])
    model[-1].intercept_ += 0.001
    with pytest.raises(export.ParityError, match=r"ONNX differs from scikit-learn by 0\.001"):
        export.check_parity(content, model, features)


def test_the_blend_is_the_weighted_mean_of_its_members_logarithms(dataset: Dataset, product: Product) -> None:
    features = impute(dataset.features, fit_fill(dataset.features, product))

    def predicted(name: str) -> object:
        return BY_NAME[name].build(0).fit(features[:400], dataset.target[:400]).predict(features[400:])

    from_members = np.exp(sum(weight * np.log(predicted(name)) for name, weight in BLEND))
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


def test_training_takes_the_better_candidate_and_covers_what_it_says(dataset: Dataset, product: Product) -> None:
    trained = train(dataset, product, QUICK)
    assert [result.name for result in trained.results] == ["ridge", "kernel-ridge"]
    assert trained.candidate == "kernel-ridge"
    assert trained.result.rmse < 3.6 < trained.results[0].rmse
    assert trained.measured_coverage == pytest.approx(product.training.interval_coverage, abs=0.03)
    assert product.feature_names[int(trained.importances.argmax())] in product.key_features
    again = train(dataset, product, QUICK)
    assert np.array_equal(again.result.held_out, trained.result.held_out)
    assert export.to_onnx(again.model, 12) == export.to_onnx(trained.model, 12)


def test_no_row_is_predicted_by_a_model_that_saw_it(dataset: Dataset, product: Product) -> None:
    """With a target that is pure noise, any leak would show as skill."""
    noise = np.exp(np.random.default_rng(2).normal(size=len(dataset.target)))
    shuffled = make_dataset(product, dataset.features, noise)
    candidates = [BY_NAME["ridge"], BY_NAME["kernel-ridge"]]
    assert all(result.r2 < 0.02 for result in compare(shuffled, product, QUICK, candidates))
    assessment = assess(shuffled, product, candidates[0], fold_count=4, seed=0, jobs=1)
    assert assessment.coverage == pytest.approx(0.9, abs=0.03)
    assert np.abs(assessment.importances).max() < 0.1 * assessment.rmse


def test_a_blend_alone_is_searched_through_its_members(dataset: Dataset, product: Product) -> None:
    alone = msgspec.structs.replace(QUICK, folds=2, repeats=1)
    (result,) = compare(dataset, product, alone, [BY_NAME["blend"]])
    members = [BY_NAME[name] for name in ("kernel-ridge", "boosting")]
    held_out = {found.name: found.held_out for found in compare(dataset, product, alone, members)}
    assert np.array_equal(result.held_out, np.exp(sum(weight * np.log(held_out[name]) for name, weight in BLEND)))


def test_kernels_are_left_out_where_there_are_too_many_rows_for_them(dataset: Dataset, product: Product) -> None:
    """Their time grows with the cube of the rows."""
    many = np.arange(4001) % len(dataset.target)
    grown = make_dataset(product, dataset.features[many], dataset.target[many])
    assert [candidate.name for candidate in CANDIDATES if candidate.suits(grown)] == [
        "ridge",
        "extra-trees",
        "boosting",
    ]
    assert all(candidate.suits(dataset) for candidate in CANDIDATES)
    only = msgspec.structs.replace(QUICK, candidates=("kernel-ridge",))
    with pytest.raises(NoSuitableCandidateError, match="kernel-ridge none suits these 4001 rows"):
        train(grown, product, only)


def test_a_target_of_zero_leaves_out_the_candidates_that_take_logarithms(dataset: Dataset, product: Product) -> None:
    target = dataset.target.copy()
    target[0] = 0
    trained = train(make_dataset(product, dataset.features, target), product, QUICK)
    assert [result.name for result in trained.results] == ["ridge"]


def results_with(errors: dict[str, np.ndarray]) -> tuple[Result, ...]:
    """Results of candidates whose predictions of a target of zero are `errors`."""
    figures = dict.fromkeys(("rmse", "rmse_spread", "pooled_rmse", "mae", "mae_spread", "r2", "r2_spread"), 0.0)
    return tuple(Result(name=name, held_out=error[None, :], **figures) for name, error in errors.items())


def test_the_simplest_within_one_standard_error_is_taken_unless_the_gain_is_clear() -> None:
    noise = np.random.default_rng(3).normal(size=1000)
    target = np.zeros(1000)
    alike = results_with({"simple": np.where(np.arange(1000) % 2, 1.01, 0.99) * noise, "complex": noise * 0.9999})
    assert choose(alike, behind_best(alike, target)).name == "simple"
    better = results_with({"simple": noise * 1.2, "complex": noise})
    behind = behind_best(better, target)
    assert choose(better, behind).name == "complex"
    assert behind["complex"] == (0.0, 0.0)
    assert behind["simple"][0] == pytest.approx(0.44 * np.mean(noise**2))


def test_what_is_assessed_is_counted_on_held_out_rows(dataset: Dataset, product: Product) -> None:
    """A feature of pure noise is worth nothing, a good one much; more gaps cost more."""
    features = dataset.features.copy()
    features[:, product.feature_names.index("ZN")] = np.random.default_rng(4).normal(size=len(features))
    noisy = make_dataset(product, features, dataset.target)
    assessment = assess(noisy, product, BY_NAME["kernel-ridge"], fold_count=4, seed=0, jobs=1)
    worth = dict(zip(product.feature_names, assessment.importances, strict=True))
    assert abs(worth["ZN"]) < 0.1
    assert worth["LSTAT"] > 1
    assert dict(zip(product.feature_names, assessment.absent, strict=True))["LSTAT"] > 0.3
    assert assessment.rmse < assessment.missing[0.1] < assessment.missing[0.3]
