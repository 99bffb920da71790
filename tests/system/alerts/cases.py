"""One case an alert: series that raise it, when it must not yet and when it must fire, and a twin that must not."""

from typing import NamedTuple

PREDICT = 'http_requests_total{endpoint="/v1/predict",method="POST",status="%s"}'
SECONDS = 'http_request_duration_seconds_count{endpoint="/v1/predict"}'
SLOW = 'http_slow_requests_total{endpoint="/v1/predict"}'
SLO = {'beacon_threshold{name="availability_slo"}': "0.995x10000"}
LIMITS = {'beacon_threshold{name="min_coverage"}': "0.85x300", 'beacon_threshold{name="min_labels"}': "100x300"}


class Case(NamedTuple):
    """`early` and `late` are minutes on both sides of `for`; `labels` pick one of several rules of a name."""

    alert: str
    labels: str
    series: dict[str, str]
    early: float
    late: float
    twin: dict[str, str]


def _requests(good: int, bad: int, minutes: int, **more: str) -> dict[str, str]:
    served = {PREDICT % 200: f"0+{good}x{minutes}", PREDICT % 503: f"0+{bad}x{minutes}"}
    return SLO | served | more


def _slow(fast: int, minutes: int) -> dict[str, str]:
    counts = {SLOW: f"0+{100 - fast}x{minutes}", SECONDS: f"0+100x{minutes}"}
    return counts | {PREDICT % 200: f"0+100x{minutes}"}


def _limit(name: str, value: float, minutes: int = 1700) -> dict[str, str]:
    return {f'beacon_threshold{{name="{name}"}}': f"{value}x{minutes}"}


def _out(share: int, volume: int = 100) -> dict[str, str]:
    limits = _limit("out_of_range_page", 0.25) | _limit("out_of_range_share", 0.05)
    return (
        limits
        | _volume()
        | {
            'model_predictions_total{model_version="7"}': f"0+{volume}x60",
            'model_out_of_range_predictions_total{model_version="7"}': f"0+{share * volume / 100:g}x60",
        }
    )


def _over(share: int) -> dict[str, str]:
    return _out(0) | {'model_out_of_range_predictions_total{model_version="7"}': f"0+{share}x30 {share * 30}x30"}


def _volume(per_minute: int = 0) -> dict[str, str]:
    """The least predictions that a share is told of, and as many as asked for."""
    served = {'model_predictions_total{model_version="6"}': f"0+{per_minute}x400"} if per_minute else {}
    return _limit("min_predictions", 200) | served


def _share(metric: str, limit: str, share: float, per_minute: int = 100) -> dict[str, str]:
    """`limit` is 20 % here, whatever the product's is: the rules must read it."""
    return _limit(limit, 0.2) | _volume(per_minute) | {metric: f"0+{share * per_minute:g}x400"}


def _of_clients(*shares: float, per_minute: int = 100) -> dict[str, str]:
    """Clients that send as many rows each, and the share of theirs that are odd."""
    series = _limit("input_out_of_range_share", 0.2) | _volume()
    for number, share in enumerate(shares):
        series[f'model_client_predictions_total{{client="c{number}"}}'] = f"0+{per_minute}x400"
        series[f'model_client_out_of_range_predictions_total{{client="c{number}"}}'] = f"0+{share * per_minute:g}x400"
    return series


def _buckets(*cumulative: int) -> dict[str, str]:
    """Predictions a minute at most 15, 20 and 25."""
    name = 'model_prediction_value_bucket{le="%s"}'
    series = {name % le: f"0+{count}x400" for le, count in zip(("15.0", "20.0", "25.0"), cumulative, strict=True)}
    whole = {name % "+Inf": "0+100x400", "model_prediction_value_count": "0+100x400"}
    return _limit("collapse_share", 0.95) | _volume(100) | series | whole


def _error(value: float, rows: int) -> dict[str, str]:
    labels = '{metric="mae",window="7d",segment=""}'
    figures = {"beacon_model_error" + labels: f"{value}x300", "beacon_model_error_rows" + labels: f"{rows}x300"}
    return LIMITS | _limit("max_mae_ratio", 1.3) | {"beacon_model_expected_error": "2x300"} | figures


def _actuals(served: int) -> dict[str, str]:
    return _limit("actual_age_days", 0.1) | _volume(served) | {"beacon_actual_last_timestamp_seconds": "0x400"}


def _coverage(value: str, rows: int) -> dict[str, str]:
    labels = '{metric="coverage",window="7d",segment="all"}'
    return LIMITS | {"beacon_model_error" + labels: f"{value}x300", "beacon_model_error_rows" + labels: f"{rows}x300"}


# Probes by the thousand must not dilute the share of failures.
PROBES = {'http_requests_total{endpoint="/readyz",method="GET",status="200"}': "0+60000x200"}
BURN = "BeaconErrorBudgetBurn"
INFO = 'beacon_model_info{role="%s",model_version="%s"}'
REFUSED = 'beacon_model_swaps_total{outcome="%s"}'
ERRORS = 'api_errors_total{error_type="%s"}'
BUILD = 'beacon_build_info{service="%s"}'
READY = "model_not_ready"
DROPPED, STORE = "beacon_prediction_log_dropped_total", "beacon_store_up"
KEYS = "beacon_api_keys_file_failures_total"
ISSUER = "beacon_jwt_issuer_keys_failures_total"
DRIFT, JOB = 'beacon_drift_confirmed{kind="data",feature="RM"}', 'beacon_job_failures_total{job="drift"}'
FEATURES = "feature-serving"
TARGETS = ("prediction-log", FEATURES, "console")
GONE = "0 20000x700"
FEW = SLO | {PREDICT % 200: "0+0.1x700", PREDICT % 503: "0+0.01x700"}
PROBE = 'probe_success{job="beacon-probe",instance="%s"}'


def _full(used: float, most: float = 10e6) -> dict[str, str]:
    spool = "beacon_prediction_log_spool"
    return {f"{spool}_bytes": f"{used:g}x60", f"{spool}_max_bytes": f"{most:g}x60"}


def _room(volume: str, percent: float) -> dict[str, str]:
    names = (f'beacon_volume_{kind}_bytes{{volume="{volume}"}}' for kind in ("free", "size"))
    return dict(zip(names, (f"{percent:g}x60", "100x60"), strict=True))


def _claim(name: str, percent: float) -> dict[str, str]:
    names = (f'kubelet_volume_stats_{of}_bytes{{persistentvolumeclaim="{name}"}}' for of in ("available", "capacity"))
    return dict(zip(names, (f"{percent:g}x60", "100x60"), strict=True))


SHIP, SPOOL = "beacon_prediction_log_ship_failures_total", "beacon_prediction_log_spool_records"
CURRENT = "beacon_topic_current_timestamp_seconds"
NOTIFY = 'alertmanager_notifications_failed_total{integration="webhook"}'
LOW = 'model_extreme_predictions_total{side="very_low"}'
OUTSIDE = ('model_out_of_range_features_total{feature="RM"}', "input_out_of_range_share")
IMPUTED = ('model_imputations_total{feature="RM"}', "imputed_share")
TRAINED, ACTUAL = "beacon_model_trained_timestamp_seconds", "beacon_actual_last_timestamp_seconds"
BACKUP = 'beacon_job_last_success_timestamp_seconds{job="backup"}'
OLD_BACKUP = _limit("backup_age_hours", 1)
VIEW, AGE = 'beacon_feature_materialized_timestamp_seconds{view="tract"}', _limit("feature_age_hours", 1)
SUCCESS, PERIOD = 'beacon_job_last_success_timestamp_seconds{job="drift"}', 'beacon_job_period_seconds{job="drift"}'
EVERY, GATE = {PERIOD: "3600x400"}, 'beacon_gate_outcome{outcome="%s"}'


ENDED = 'beacon_promotion_total{outcome="%s"}'


def _refused(percent: int, status: int) -> dict[str, str]:
    return _limit("min_predictions", 200) | {
        PREDICT % 200: f"0+{100 - percent}x99",
        PREDICT % status: f"0+{percent}x99",
    }


# An hour of health, then a fifth fails; and a tenth less than that: no outage, and the slower windows see to it.
HEALTH = SLO | PROBES | {PREDICT % 200: "0+100x40 4080+80x30", PREDICT % 503: "0x40 20+20x30"}
LESS = SLO | {PREDICT % 200: "0+100x40 4091+91x30", PREDICT % 503: "0x40 9+9x30"}
SOME = SLO | {PREDICT % 200: "0+1x40 41+1x30", PREDICT % 503: "0x40 1+1x30"}

CASES = (
    Case("BeaconApiDown", "", {BUILD % "console": "1x9"}, 0.5, 1, {BUILD % "inference": "1x9"}),
    Case(BURN, 'long="2m"', HEALTH, 42, 43, LESS),
    Case(BURN, 'long="2m"', HEALTH, 42, 43, SOME),
    Case(BURN, 'long="1h"', _requests(90, 10, 99) | PROBES, 2, 4, _requests(93, 7, 99)),
    # Nine failures are too few to page for, whatever their share.
    Case(BURN, 'long="1h"', _requests(90, 10, 99), 2, 4, SLO | {PREDICT % 200: "9x99", PREDICT % 503: "0 9x98"}),
    # After recovery the short window takes the page back.
    Case(BURN, 'long="1h"', _requests(90, 10, 99), 2, 20, SLO | {PREDICT % 200: "0+90x99", PREDICT % 503: "0 400x98"}),
    Case(BURN, 'long="6h"', _requests(960, 40, 400), 14, 18, _requests(980, 20, 400)),
    Case(BURN, 'long="1d"', _requests(980, 20, 1500), 58, 64, _requests(990, 10, 1500)),
    Case(BURN, 'long="3d"', _requests(990, 10, 4400), 178, 184, _requests(997, 3, 4400)),
    # The same of the slower windows: too few failures, and failures of the past.
    Case(BURN, 'long="6h"', _requests(960, 40, 400), 14, 60, SLO | {PREDICT % 200: "0+900x99", PREDICT % 503: GONE}),
    Case(BURN, 'long="6h"', _requests(960, 40, 400), 14, 60, FEW),
    Case(BURN, 'long="1d"', _requests(980, 20, 1500), 58, 200, SLO | {PREDICT % 200: "0+900x300", PREDICT % 503: GONE}),
    Case(BURN, 'long="1d"', _requests(980, 20, 1500), 58, 200, FEW),
    Case(
        BURN, 'long="3d"', _requests(990, 10, 4400), 178, 600, SLO | {PREDICT % 200: "0+900x700", PREDICT % 503: GONE}
    ),
    Case(BURN, 'long="3d"', _requests(990, 10, 4400), 178, 600, FEW),
    Case("BeaconLatencyBudgetBurn", "", _slow(80, 60), 2, 4, _slow(80, 60) | {PREDICT % 200: "0+1x60"}),
    Case(
        "BeaconLatencyBudgetBurn",
        "",
        _slow(80, 60),
        2,
        30,
        _slow(80, 60) | {SLOW: "0+50x10 500+0x50"},
    ),
    Case("BeaconLatencyBudgetBurn", "", _slow(80, 60), 2, 10, _slow(90, 60)),
    Case("BeaconDependencyErrors", "", {ERRORS % READY: "0+9x60"}, 7, 9, {ERRORS % "not_found": "0+9x60"}),
    Case(
        "BeaconDependencyErrors",
        "",
        {ERRORS % READY: "0+9x60"},
        4,
        14,
        {ERRORS % READY: "0+1x60"},
    ),
    Case("BeaconPredictionLogDropping", "", {DROPPED: "0 0 0 1x30"}, 1, 4, {DROPPED: "5x40"}),
    # It goes on for half an hour after ten minutes without a loss.
    Case("BeaconPredictionLogDropping", "", {DROPPED: "0x11 1x60"}, 11, 50, {DROPPED: "0x6 1x60"}),
    # A file that is being written is no fault; one that stays wrong is looked at each second.
    Case("BeaconApiKeysStale", "", {KEYS: "0 0 0+60x30"}, 2, 6, {KEYS: "0 0 20x30"}),
    # A restart of the issuer is no fault; one that stays away is asked every ten seconds.
    Case("BeaconJwtIssuerAway", "", {ISSUER: "0 0 0+6x30"}, 4, 8, {ISSUER: "0 0 15x30"}),
    Case("BeaconStoreDown", "", {STORE: "0x20"}, 4, 5, {STORE: "1x20"}),
    Case("BeaconPredictionsOutOfRange", 'severity="critical"', _out(30), 6, 9, _out(20)),
    Case("BeaconPredictionsOutOfRange", 'severity="critical"', _out(30), 4, 12, _out(30, volume=2)),
    # Over for six minutes, the page is taken back, although the half hour still has its share.
    Case("BeaconPredictionsOutOfRange", 'severity="critical"', _out(60), 4, 36, _over(60)),
    Case("BeaconPredictionsOutOfRange", 'severity="warning"', _out(10), 9, 18, _out(4)),
    Case("BeaconPredictionsOutOfRange", 'severity="warning"', _out(10), 9, 18, _out(10, volume=2)),
    Case("BeaconModelRefused", "", {REFUSED % "refused": "0 0 0 1x30"}, 1, 4, {REFUSED % "swapped": "0 0 0 1x30"}),
    Case(
        "BeaconModelVersionSkew",
        "",
        {INFO % ("champion", 6): "1x60", INFO % ("champion", 7): "1x60"},
        19,
        20,
        {INFO % ("champion", 6): "1x60", INFO % ("shadow", 7): "1x60"},
    ),
    Case("BeaconCoverageLow", "", _coverage("0.8", 100), 119, 120, _coverage("0.86", 100)),
    Case("BeaconCoverageLow", "", _coverage("0.8", 100), 119, 120, _coverage("0.8", 99)),
    Case("BeaconDriftConfirmed", "", {DRIFT: "1x60"}, 9, 10, {DRIFT: "0x60"}),
    Case("BeaconJobFailing", "", {JOB: "0 1x60"}, 4, 8, {JOB: "3x60"}),
    Case("BeaconProbeFailing", "", {PROBE % "service": "1x9 0x20"}, 10, 14, {PROBE % "service": "1x9 0 1x20"}),
    # One way alone is broken: that is an outage for whoever comes by it.
    Case(
        "BeaconProbeFailing",
        "",
        {PROBE % "service": "1x30", PROBE % "ingress": "0x30"},
        0.5,
        1.5,
        {PROBE % "ingress": "1x20"},
    ),
    Case("BeaconProbeAbsent", "", {}, 4, 5, {PROBE % "service": "0x20"}),
    *[
        Case(
            "BeaconTargetAbsent",
            f'service="{gone}"',
            {BUILD % other: "1x20" for other in TARGETS if other != gone},
            4,
            6,
            {BUILD % gone: "1x20"},
        )
        for gone in TARGETS
    ],
    Case("BeaconInternalErrors", "", {ERRORS % "internal": "0+2x60"}, 7, 9, {ERRORS % "not_found": "0+9x60"}),
    Case("BeaconInternalErrors", "", {ERRORS % "overloaded": "0+2x60"}, 4, 14, {ERRORS % "overloaded": "0x7 1x60"}),
    Case("BeaconClientsRefused", "", _refused(60, 422), 14, 20, _refused(40, 422)),
    Case("BeaconClientsRefused", "", _refused(60, 400), 14, 20, _refused(60, 404)),
    Case("BeaconClientsRefused", "", _refused(60, 400), 14, 20, _refused(60, 400) | _limit("min_predictions", 1e6)),
    Case("BeaconPredictionLogStuck", "", {SHIP: "0+1x60", SPOOL: "9x60"}, 9, 14, {SHIP: "0+1x60", SPOOL: "0x60"}),
    Case("BeaconPredictionLogStuck", "", {SHIP: "0+1x60", SPOOL: "9x60"}, 9, 14, {SHIP: "5x60", SPOOL: "9x60"}),
    Case("BeaconTopicBehind", "", {CURRENT: "0x400"}, 28, 34, {CURRENT: "0+60x400"}),
    Case("BeaconTopicBehind", "", {CURRENT: "600x10 _x400"}, 38, 44, {CURRENT: "600x10 0x5 1000+60x400"}),
    Case("BeaconSpoolFilling", "", _full(9e6), 4, 8, _full(5e6)),
    Case("BeaconSpoolFilling", "", _full(6e6), 4, 8, _full(6e6, most=12e6)),
    Case("BeaconVolumeFilling", "", _room("spool", 9), 9, 14, _room("spool", 11)),
    Case("BeaconVolumeFilling", "", _claim("data-beacon-postgresql-0", 9), 9, 14, _claim("data-beacon-redis-0", 11)),
    Case("BeaconVolumeFilling", "", _claim("beacon-files", 9), 9, 14, _claim("data-of-others-0", 9)),
    Case("BeaconNotificationsFailing", "", {NOTIFY: "0+1x60"}, 4, 8, {NOTIFY: "4x60"}),
    Case("BeaconPredictionsExtreme", "", _share(LOW, "extreme_share", 0.3), 9, 20, _share(LOW, "extreme_share", 0.1)),
    Case("BeaconPredictionsExtreme", "", _share(LOW, "extreme_share", 0.3), 9, 20, _share(LOW, "extreme_share", 1, 3)),
    Case("BeaconInputsOutOfRange", "", _share(*OUTSIDE, 0.3), 14, 24, _share(*OUTSIDE, 0.1)),
    Case("BeaconInputsOutOfRange", "", _share(*OUTSIDE, 0.3), 14, 24, _share(*OUTSIDE, 1, 3)),
    Case("BeaconOddRowsOfOneClient", "", _of_clients(0.3, 0.1), 14, 24, _of_clients(0.1, 0)),
    Case("BeaconOddRowsOfOneClient", "", _of_clients(0.3, 0.1), 14, 24, _of_clients(0.3, 0.3)),
    Case("BeaconOddRowsOfOneClient", "", _of_clients(0.3, 0.1), 14, 24, _of_clients(1, 0, per_minute=3)),
    # Who is alone cannot be told from the others.
    Case("BeaconOddRowsOfOneClient", "", _of_clients(0.3, 0.1), 14, 24, _of_clients(0.3)),
    Case("BeaconImputationHigh", "", _share(*IMPUTED, 0.3), 14, 24, _share(*IMPUTED, 0.1)),
    Case("BeaconImputationHigh", "", _share(*IMPUTED, 0.3), 14, 24, _share(*IMPUTED, 1, 3)),
    Case("BeaconOutputCollapse", "", _buckets(1, 99, 100), 9, 20, _buckets(5, 99, 100)),
    Case("BeaconOutputCollapse", "", _buckets(1, 99, 100), 9, 20, _buckets(0, 90, 100)),
    Case(
        "BeaconOutputCollapse", "", _buckets(1, 99, 100), 9, 20, _buckets(1, 99, 100) | _limit("min_predictions", 1e6)
    ),
    Case("BeaconErrorHigh", "", _error(2.7, 100), 119, 120, _error(2.5, 100)),
    Case("BeaconErrorHigh", "", _error(2.7, 100), 119, 120, _error(2.7, 99)),
    Case("BeaconModelStale", "", _limit("model_age_days", 0.1) | {TRAINED: "0x400"}, 200, 210, {TRAINED: "0x400"}),
    Case(
        "BeaconModelStale",
        "",
        _limit("model_age_days", 0.1) | {TRAINED: "0x400"},
        200,
        210,
        _limit("model_age_days", 0.2) | {TRAINED: "0x400"},
    ),
    Case("BeaconFeaturesStale", "", AGE | {VIEW: "0x400"}, 76, 80, AGE | {VIEW: "3600x400"}),
    Case("BeaconActualsMissing", "", _actuals(9), 200, 210, _actuals(0)),
    Case("BeaconActualsMissing", "", _actuals(9), 200, 210, _actuals(9) | {ACTUAL: "7200x400"}),
    Case("BeaconJobStale", "", EVERY | {SUCCESS: "0x400"}, 192, 200, EVERY | {SUCCESS: "3600x400"}),
    Case("BeaconJobNeverRan", "", {PERIOD: "3600x1700"}, 1559, 1560, {PERIOD: "3600x1700", SUCCESS: "0x1700"}),
    Case("BeaconBackupOld", "", OLD_BACKUP | {BACKUP: "0x400"}, 76, 80, OLD_BACKUP | {BACKUP: "3600x400"}),
    Case("BeaconBackupOld", "", OLD_BACKUP | {BACKUP: "0x400"}, 76, 80, OLD_BACKUP | {SUCCESS: "0x400"}),
    Case("BeaconGateInconclusive", "", {GATE % "inconclusive": "1x99"}, 59, 60, {GATE % "fail": "1x99"}),
    Case("BeaconGateInconclusive", "", {GATE % "inconclusive": "1x99"}, 59, 60, {GATE % "inconclusive": "0x99"}),
    Case("BeaconPromotionRolledBack", "", {ENDED % "rolled_back": "4x9 5x50"}, 8, 12, {ENDED % "promoted": "4x9 5x50"}),
    Case("BeaconPromotionRolledBack", "", {ENDED % "rolled_back": "4x9 5x90"}, 8, 12, {ENDED % "rolled_back": "5x60"}),
    Case("BeaconPromotionRefused", "", {ENDED % "refused": "4x9 5x50"}, 8, 12, {ENDED % "kept": "4x9 5x50"}),
    Case("Watchdog", "", {}, -1, 0, {}),
)
