"""What the expressions of model.yaml give."""

from collections.abc import Iterator

from tests.system.alerts.series import (
    DAY,
    HOUR,
    MINUTE,
    OUTSIDE,
    SAMPLES,
    Expected,
    Series,
    Value,
    counter,
    gauge,
    limit,
    now,
    rose,
    seconds,
)

SHARES = {
    "BeaconPredictionsOutOfRange": (
        "30m",
        "model_out_of_range_predictions_total",
        "model_version",
        "out_of_range_share",
    ),
    "BeaconPredictionsExtreme": ("30m", "model_extreme_predictions_total", "side", "extreme_share"),
    "BeaconInputsOutOfRange": ("1h", "model_out_of_range_features_total", "feature", "input_out_of_range_share"),
    "BeaconImputationHigh": ("1h", "model_imputations_total", "feature", "imputed_share"),
}
"""Window, counter, its label, and the limit of its share of all predictions."""
RARE = {
    "BeaconModelRefused": ("30m", "beacon_model_swaps_total", "outcome", "refused"),
    "BeaconPromotionRolledBack": ("1h", "beacon_promotion_total", "outcome", "rolled_back"),
    "BeaconPromotionRefused": ("1h", "beacon_promotion_total", "outcome", "refused"),
    "BeaconJobFailing": ("1h", "beacon_job_failures_total", "job", ""),
}
"""Window, counter, its label, and what is counted; each by itself, where nothing is named."""


def values() -> Iterator[Value]:
    """All of them."""
    for part in (_shares, _of_one_client, _out_of_range_now, _collapse, _rare, _figures, _ages, _actuals, _states):
        yield from part()


def _shares() -> Iterator[Value]:
    for alert, (window, metric, label, name) in SHARES.items():
        series = limit(name, 0.25)
        for one, count in (("above", 260), ("spot", 250), ("below", 100)):
            series |= rose(f'{metric}{{{label}="{one}"}}', count * 0.25, count * 0.75)
            if label == "model_version":
                series |= rose(f'model_predictions_total{{model_version="{one}"}}', 700, 300)
        if label != "model_version":
            series |= rose('model_predictions_total{model_version="1"}', 200, 300)
            series |= rose('model_predictions_total{model_version="2"}', 100, 400)
        for least, fires in ((1000, True), (900, True), (1001, False)):
            expected = {f'{{{label}="above"}}': 0.26} if fires else {}
            picked = 'severity="warning"' if label == "model_version" else ""
            yield Value(alert, series | limit("min_predictions", least), expected, seconds(window) // SAMPLES, picked)


def _of_one_client() -> Iterator[Value]:
    """Rows of two clients, and how many of them are odd: the share of one is above 25 %, and that of the other not."""
    sent, odd = "model_client_predictions_total", "model_client_out_of_range_predictions_total"
    for mine, others, least, fires in (
        ((1000, 260), (4000, 100), 1000, True),
        ((1000, 260), (4000, 1000), 900, True),
        ((1000, 260), (4000, 100), 1001, False),
        ((1000, 260), (4000, 1004), 1000, False),
        ((1000, 250), (4000, 100), 1000, False),
        ((1000, 260), (0, 0), 1000, False),
    ):
        series = limit("input_out_of_range_share", 0.25) | limit("min_predictions", least)
        for client, (rows, strange) in (("one", mine), ("other", others)):
            series |= rose(f'{sent}{{client="{client}"}}', rows * 0.25, rows * 0.75)
            series |= rose(f'{odd}{{client="{client}"}}', strange * 0.75, strange * 0.25)
        yield Value("BeaconOddRowsOfOneClient", series, {'{client="one"}': 0.26} if fires else {}, HOUR // SAMPLES)


def _out_of_range_now() -> Iterator[Value]:
    """Half an hour's share pages while that of the last five minutes is as high; here a window has 30 or 5 samples."""
    for percent, recent, before, least, fires in (
        (26, 26, 0, 3000, True),
        (26, 52, 0, 2900, True),
        (26, 26, 0, 3001, False),
        (25, 52, 0, 3000, False),
        (24, 52, 0, 3000, False),
        (26, 25, 90, 3000, False),
    ):
        series = limit("out_of_range_page", 0.25) | limit("min_predictions", least)
        for place, part in enumerate((0.75, 0.25)):
            every = {30: OUTSIDE, 29: 2700 * part, 5: 100 * part, 4: 100 * part}
            out = {30: OUTSIDE, 29: (percent * 29 - recent - before) * part, 5: before * part, 4: recent * part}
            labels = f'{{model_version="7",instance="i{place}"}}'
            series[f"model_predictions_total{labels}"] = counter(every, restarts=place == 1)
            series[f"model_out_of_range_predictions_total{labels}"] = counter(out, restarts=place == 1)
        series |= rose('model_predictions_total{model_version="6"}', 90000)
        series |= rose('model_out_of_range_predictions_total{model_version="6"}', 0)
        expected = {'{model_version="7"}': percent / 100} if fires else {}
        yield Value("BeaconPredictionsOutOfRange", series, expected, MINUTE, 'severity="critical"')


def _collapse() -> Iterator[Value]:
    """An eighth of the predictions or less at either end, and all others in one bucket."""
    for below, upto, least, fires in (
        (125, 875, 1000, True),
        (0, 1000, 900, True),
        (125, 875, 1001, False),
        (130, 875, 1000, False),
        (125, 870, 1000, False),
        (120, 500, 1000, False),
    ):
        series = limit("collapse_share", 0.75) | limit("min_predictions", least)
        for bound, count in (("10", below), ("20", upto), ("+Inf", 1000)):
            series |= rose(f'model_prediction_value_bucket{{le="{bound}"}}', count * 0.2, count * 0.8)
        series |= rose("model_prediction_value_count", 200, 800) | rose("model_predictions_total", 300, 700)
        yield Value("BeaconOutputCollapse", series, {"{}": 0} if fires else {}, seconds("30m") // SAMPLES)


def _rare() -> Iterator[Value]:
    for alert, (window, metric, label, counted) in RARE.items():
        others = rose(f'{metric}{{{label}="fine"}}', 90, 10) if counted else {}
        for count in (1, 0):
            series, expected = dict(others), Expected()
            for kind in [counted] if counted else ["drift", "materialize"]:
                series |= rose(f'{metric}{{{label}="{kind}"}}', count * 0.25, count * 0.75)
                expected["{}" if counted else f'{{{label}="{kind}"}}'] = count
            yield Value(alert, series, expected if count else {}, seconds(window) // SAMPLES)


def _figures() -> Iterator[Value]:
    """Realised figures: beyond the limit, on it, on few actuals, of other metrics and of segments."""
    place = '{metric="%s",window="%s",segment="%s"}'
    coverage, error = limit("min_coverage", 0.75), limit("max_mae_ratio", 1.25)
    error |= gauge("beacon_model_expected_error", 2, 3)
    for alert, metric, own, beyond, spot, other in (
        ("BeaconCoverageLow", "coverage", coverage, 0.74, 0.75, ("mae", 0.5)),
        ("BeaconErrorHigh", "mae", error, 2.6, 2.5, ("rmse", 9.0)),
    ):
        series = own | limit("min_labels", 100)
        for window, value, rows in (("1d", beyond, 100), ("3d", beyond, 900), ("7d", spot, 100), ("30d", beyond, 99)):
            series[f"beacon_model_error{place % (metric, window, '')}"] = f"{value}x70"
            series[f"beacon_model_error_rows{place % (metric, window, '')}"] = f"{rows}x70"
            series[f"beacon_model_error{place % (other[0], window, '')}"] = f"{other[1]}x70"
            series[f"beacon_model_error_rows{place % (other[0], window, '')}"] = "500x70"
        series[f"beacon_model_error{place % (metric, '1d', 'x=1')}"] = f"{beyond}x70"
        series[f"beacon_model_error_rows{place % (metric, '1d', 'x=1')}"] = "500x70"
        labels = [place % (metric, window, "") for window in ("1d", "3d")]
        labels += [place % (metric, "1d", "x=1")] if metric == "coverage" else []
        yield Value(alert, series, {one.replace(',segment=""', ""): beyond for one in labels})


def _ages() -> Iterator[Value]:
    """Ages a minute beyond the limit, and on the very spot."""
    time = now(HOUR)
    for more in (MINUTE, 0):
        old = time - 2 * DAY - more
        model = gauge("beacon_model_trained_timestamp_seconds", old, old + 9) | limit("model_age_days", 2)
        yield Value("BeaconModelStale", model, {"{}": 2 * DAY + more} if more else {}, HOUR)
        old = time - 3 * HOUR - more
        views = limit("feature_age_hours", 3)
        for view, age in (("one", 0), ("two", 0), ("fresh", HOUR)):
            views |= gauge(f'beacon_feature_materialized_timestamp_seconds{{view="{view}"}}', old + age, old + HOUR)
        expected = {f'{{view="{view}"}}': 3 * HOUR + more for view in ("one", "two")} if more else {}
        yield Value("BeaconFeaturesStale", views, expected, HOUR)
        jobs: Series = {}
        for job, last in (("one", 0), ("two", 0), ("fresh", HOUR)):
            succeeded = time - 3 * HOUR - more + last
            jobs |= gauge(f'beacon_job_last_success_timestamp_seconds{{job="{job}"}}', succeeded, succeeded - 9 * HOUR)
            jobs |= gauge(f'beacon_job_period_seconds{{job="{job}"}}', HOUR, HOUR / 2)
        expected = {f'{{job="{job}"}}': 3 * HOUR + more for job in ("one", "two")} if more else {}
        yield Value("BeaconJobStale", jobs, expected, HOUR)
        backup = limit("backup_age_hours", 3)
        for job, last in (("backup", 0), ("drift", HOUR)):
            done = time - 3 * HOUR - more + last
            backup |= gauge(f'beacon_job_last_success_timestamp_seconds{{job="{job}"}}', done, done - 9 * HOUR)
        yield Value("BeaconBackupOld", backup, {"{}": 3 * HOUR + more} if more else {}, HOUR)
    jobs = gauge('beacon_job_period_seconds{job="never"}', HOUR, HOUR / 2)
    jobs |= gauge('beacon_job_period_seconds{job="once"}', HOUR) | gauge(
        'beacon_job_last_success_timestamp_seconds{job="once"}', 0
    )
    yield Value("BeaconJobNeverRan", jobs, {'{job="never"}': HOUR})


def _actuals() -> Iterator[Value]:
    tick = seconds("1d") // SAMPLES
    for more, asked, fires in ((MINUTE, (0, 0.5), True), (0, (0, 0.5), False), (MINUTE, (0, 0), False)):
        last = now(tick) - 2 * DAY - more
        series = gauge("beacon_actual_last_timestamp_seconds", last, last - 9) | limit("actual_age_days", 2)
        series |= rose('model_predictions_total{model_version="1"}', *asked)
        yield Value("BeaconActualsMissing", series, {"{}": 2 * DAY + more} if fires else {}, tick)


def _states() -> Iterator[Value]:
    info = 'beacon_model_info{role="%s",model_version="%s"}'
    one = gauge(info % ("champion", 7), 1, 1) | gauge(info % ("champion", 5), 0) | gauge(info % ("shadow", 8), 1)
    yield Value("BeaconModelVersionSkew", one, {})
    yield Value("BeaconModelVersionSkew", one | gauge(info % ("champion", 6), 1, 1), {"{}": 2})
    drifted = 'beacon_drift_confirmed{kind="%s",feature="%s"}'
    series = gauge(drifted % ("data", "a"), 1, 1) | gauge(drifted % ("data", "b"), 0, 1)
    series |= gauge(drifted % ("data", "c"), 0, 0) | gauge(drifted % ("target", "c"), 1)
    expected = {
        f'{{kind="{kind}",feature="{name}"}}': 1.0 for kind, name in (("data", "a"), ("data", "b"), ("target", "c"))
    }
    yield Value("BeaconDriftConfirmed", series, expected)
    gate = 'beacon_gate_outcome{outcome="%s"}'
    for inconclusive, fires in (((0, 1), True), ((1, 1), True), ((0, 0), False)):
        series = gauge(gate % "inconclusive", *inconclusive) | gauge(gate % "fail", 1, 1)
        yield Value("BeaconGateInconclusive", series, {"{}": 1} if fires else {})
