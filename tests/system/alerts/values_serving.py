"""What the expressions of sli.yaml and serving.yaml give."""

from collections.abc import Iterator

from tests.system.alerts.series import (
    END,
    ENDPOINTS,
    SAMPLES,
    Expected,
    Series,
    Value,
    gauge,
    limit,
    now,
    of,
    recorded,
    rose,
    seconds,
)

CURRENT = "beacon_topic_current_timestamp_seconds"
WINDOWS = ("2m", "5m", "30m", "1h", "2h", "6h", "1d", "3d")
BURN = (("2m", "", 20), ("1h", "5m", 14.4), ("6h", "30m", 6), ("1d", "2h", 3), ("3d", "6h", 1))
"""Long and short window, and how many times the budget."""
COUNTED = {
    "BeaconPredictionLogDropping": ("10m", "beacon_prediction_log_dropped_total", "", 0, ("some",)),
    "BeaconApiKeysStale": ("10m", "beacon_api_keys_file_failures_total", "", 30, ("some",)),
    "BeaconJwtIssuerAway": ("10m", "beacon_jwt_issuer_keys_failures_total", "", 20, ("some",)),
    "BeaconNotificationsFailing": (
        "15m",
        "alertmanager_notifications_failed_total",
        "integration",
        0,
        ("mail", "chat"),
    ),
    "BeaconDependencyErrors": (
        "10m",
        "api_errors_total",
        "error_type",
        20,
        ("feature_store_unavailable", "prediction_log_unavailable", "model_not_ready", "explainer_unavailable"),
    ),
    "BeaconInternalErrors": ("10m", "api_errors_total", "error_type", 5, ("internal", "overloaded")),
}
"""Window, counter, its label, the number that is too few, and what is counted."""


def values() -> Iterator[Value]:
    """All of them."""
    for part in (_sli, _slow, _burn, _latency, _counted, _stuck, _behind, _full, _refused, _states):
        yield from part()


def _sli() -> Iterator[Value]:
    for window in WINDOWS:
        tick = seconds(window) // SAMPLES
        total, failed = f"beacon:requests:increase{window}", f"beacon:failures:increase{window}"
        served: Series = {}
        for place, endpoint in enumerate(ENDPOINTS):
            for status, part in (("200", 40), ("422", 20), ("503", 10)):
                labels = f'{{endpoint="{endpoint}",status="{status}"}}'
                served |= rose(f"http_requests_total{labels}", part * 2**place, part * 2**place * 3)
        yield Value(total, served, {"{}": 70 * 4 * 15}, tick)
        yield Value(failed, served, {"{}": 10 * 4 * 15}, tick)
        # No request has failed since the servers started: there is no such series yet, and none failed.
        yield Value(failed, {one: counts for one, counts in served.items() if '"503"' not in one}, {"{}": 0}, tick)
        yield Value(failed, {}, {"{}": 0}, tick)
        # Where nobody asks there is no share, and one request is enough for one.
        for requests, failures, share in ((80, 20, 0.25), (80, 0, 0), (1, 1, 1), (0, 0, None)):
            counts = recorded(total, requests) | recorded(failed, failures)
            yield Value(f"beacon:failures:ratio{window}", counts, {} if share is None else {"{}": share})


def _slow() -> Iterator[Value]:
    for window in ("5m", "1h"):
        record, tick = f"beacon:slow:ratio{window}", seconds(window) // SAMPLES
        for slow, every, share in ((10, 40, 0.25), (0.25, 0.5, 0.5), (0, 0, None)):
            answered: Series = {}
            for place, endpoint in enumerate(ENDPOINTS):
                late = f'http_slow_requests_total{{endpoint="{endpoint}"}}'
                answered |= rose(late, slow * 2**place, slow * 2**place * 3)
                counts = f'http_request_duration_seconds_count{{endpoint="{endpoint}"}}'
                answered |= rose(counts, every * 2**place * 3, every * 2**place)
            yield Value(record, answered, {} if share is None else {"{}": share}, tick)


def _burn() -> Iterator[Value]:
    # 63 of 64 are promised: every multiple of the budget is a number without a rounding.
    promise = limit("availability_slo", 1 - 1 / 64)
    for long, short, factor in BURN:
        spot = factor / 64
        above = spot * 1.04
        for share, recent, count, fires in (
            (above, above, 10, True),
            (above, 2 * above, 30, True),
            (above, above, 9.9, False),
            (spot, above, 10, False),
            (spot * 0.9, above, 10, False),
            *([(above, spot, 10, False)] if short else []),
        ):
            series = promise | recorded(f"beacon:failures:ratio{long}", share)
            series |= recorded(f"beacon:failures:increase{long}", count)
            series |= recorded(f"beacon:failures:ratio{short}", recent) if short else {}
            yield Value("BeaconErrorBudgetBurn", series, {"{}": share} if fires else {}, label=f'long="{long}"')


def _latency() -> Iterator[Value]:
    for hour, recent, count, fires in (
        (0.145, 0.145, 100, True),
        (0.145, 0.9, 900, True),
        (14.4 * 0.01, 0.9, 100, False),
        (0.1, 0.9, 100, False),
        (0.145, 14.4 * 0.01, 100, False),
        (0.145, 0.145, 99, False),
    ):
        series = recorded("beacon:slow:ratio1h", hour) | recorded("beacon:slow:ratio5m", recent)
        series |= recorded("beacon:requests:increase1h", count)
        yield Value("BeaconLatencyBudgetBurn", series, {"{}": hour} if fires else {})


def _counted() -> Iterator[Value]:
    for alert, (window, metric, label, least, kinds) in COUNTED.items():
        tick = seconds(window) // SAMPLES
        others = rose(f'{metric}{{{label}="not_found"}}', 900, 100) if label and least else {}
        for more in (0.25, 0):
            series, expected = dict(others), Expected()
            for kind in kinds:
                count = least + more
                series |= rose(f'{metric}{{{label}="{kind}"}}' if label else metric, count * 0.25, count * 0.75)
                expected[f'{{{label}="{kind}"}}' if label else "{}"] = count
            yield Value(alert, series, expected if more else {}, tick)


def _stuck() -> Iterator[Value]:
    tick = seconds("10m") // SAMPLES
    for failures, waiting, fires in ((1, (0, 1), True), (0, (0, 1), False), (5, (0, 0), False)):
        series = rose("beacon_prediction_log_ship_failures_total", failures * 0.25, failures * 0.75)
        series |= gauge("beacon_prediction_log_spool_records", *waiting)
        yield Value("BeaconPredictionLogStuck", series, {"{}": failures} if fires else {}, tick)


def _behind() -> Iterator[Value]:
    """A consumer told a time within the last day, and another just before; since then it starts again and again."""
    tick, inside = 8000, 10
    for seconds_ago, fires in ((901, True), (900, False)):
        told = [0] * (END + 1)
        told[END - inside], told[END - inside - 1] = now(tick) - seconds_ago, now(tick)
        series = {of(CURRENT, instance="i0"): " ".join(map(str, told)), of(CURRENT, instance="i1"): f"7x{END}"}
        yield Value("BeaconTopicBehind", series, {"{}": seconds_ago} if fires else {}, tick)


def _full() -> Iterator[Value]:
    for used, fires in ((0.53125, True), (0.5, False)):
        # The fullest of two counts; the other one has more bytes, and more room for them.
        spools = gauge("beacon_prediction_log_spool_bytes", used * 1024, 2048)
        spools |= gauge("beacon_prediction_log_spool_max_bytes", 1024, 8192)
        yield Value("BeaconSpoolFilling", spools, {"{}": used} if fires else {})
    free, size = "beacon_volume_free_bytes", "beacon_volume_size_bytes"
    for left, fires in ((0.0625, True), (0.1, False)):
        volumes = gauge(f'{free}{{volume="spool"}}', left, 1) | gauge(f'{size}{{volume="spool"}}', 1, 8)
        volumes |= gauge(f'{free}{{volume="models"}}', 5) | gauge(f'{size}{{volume="models"}}', 8)
        yield Value("BeaconVolumeFilling", volumes, {'{volume="spool"}': left} if fires else {})
        claims: Series = {}
        # A claim is seen on each node that has had it; one of them tells an older figure.
        for claim, room in (("data-beacon-redis-0", left), ("beacon-files", 0.5), ("of-others", 0)):
            for kind, values in (("available", (room, 0.75)), ("capacity", (1, 1))):
                claims |= gauge(f'kubelet_volume_stats_{kind}_bytes{{persistentvolumeclaim="{claim}"}}', *values)
        expected = {'{persistentvolumeclaim="data-beacon-redis-0"}': left} if fires else {}
        yield Value("BeaconVolumeFilling", claims, expected)


def _refused() -> Iterator[Value]:
    tick = seconds("1h") // SAMPLES
    for percent, least, fires in ((52, 1500, True), (52, 1000, True), (50, 1000, False), (52, 1501, False)):
        # 1,500 in all, of four endpoints, and what is no prediction.
        series = limit("min_predictions", least) | rose('http_requests_total{endpoint="/docs",status="400"}', 100, 900)
        rest = 100 - percent
        for place, endpoint in enumerate(ENDPOINTS):
            for status, part in (("400", percent / 2), ("422", percent / 2), ("200", rest / 4), ("404", rest * 3 / 4)):
                count = part * 2**place
                labels = f'{{endpoint="{endpoint}",status="{status}"}}'
                series |= rose(f"http_requests_total{labels}", count * 0.25, count * 0.75)
        yield Value("BeaconClientsRefused", series, {"{}": percent / 100} if fires else {}, tick)


def _states() -> Iterator[Value]:
    """What is there, what is not, and what is down."""
    built = {
        name: gauge(f'beacon_build_info{{service="{name}"}}', 1)
        for name in ("console", "feature-serving", "inference", "prediction-log")
    }
    targets = {"console", "feature-serving", "prediction-log"}
    for alert, names in (("BeaconApiDown", {"inference"}), ("BeaconTargetAbsent", targets)):
        for name, series in built.items():
            others = {one: values for other in built if other != name for one, values in built[other].items()}
            yield Value(alert, others, {f'{{service="{name}"}}': 1} if name in names else {})
            yield Value(alert, series, {f'{{service="{other}"}}': 1 for other in names if other != name})
    for up, fires in (((0, 0), True), ((0, 1), False)):
        yield Value("BeaconStoreDown", gauge("beacon_store_up", *up), {"{}": 0} if fires else {})
    yield Value("Watchdog", {}, {"{}": 1})

    # Four probes a minute: one that succeeds is enough, by whichever prober.
    probe = 'probe_success{job="beacon-probe",instance="%s",prober="%s"}'
    once, never = "1x66 1 0 0 0", "1x65 1 0 0 0 0"
    probes = {probe % ("service", 1): never, probe % ("service", 2): never, probe % ("ingress", 1): once}
    probes |= {probe % ("node", 1): never, probe % ("node", 2): once}
    probes |= {'probe_success{job="of-others",instance="elsewhere"}': never}
    yield Value("BeaconProbeFailing", probes, {'{instance="service"}': 0}, tick=15)
    yield Value("BeaconProbeAbsent", probes, {})
    others = {'probe_success{job="of-others",instance="elsewhere"}': never}
    yield Value("BeaconProbeAbsent", others, {'{job="beacon-probe"}': 1})
