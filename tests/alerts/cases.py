"""One case an alert: series that raise it, when it must not yet and when it must fire, and a twin that must not."""

from typing import NamedTuple

PREDICT = 'http_requests_total{endpoint="/v1/predict",method="POST",status="%s"}'
SECONDS = 'http_request_duration_seconds_%s{endpoint="/v1/predict"%s}'
SLO = {'beacon_threshold{name="availability_slo"}': "0.995x10000"}
LIMITS = {'beacon_threshold{name="min_coverage"}': "0.85x300", 'beacon_threshold{name="min_labels"}': "100x300"}


class Case(NamedTuple):
    """`early` and `late` are minutes on both sides of `for`; `labels` pick one of several rules of a name."""

    alert: str
    labels: str
    series: dict[str, str]
    early: int
    late: int
    twin: dict[str, str]


def _requests(good: int, bad: int, minutes: int, **more: str) -> dict[str, str]:
    served = {PREDICT % 200: f"0+{good}x{minutes}", PREDICT % 503: f"0+{bad}x{minutes}"}
    return SLO | served | more


def _slow(fast: int, minutes: int) -> dict[str, str]:
    counts = {SECONDS % ("bucket", ',le="0.2"'): f"0+{fast}x{minutes}", SECONDS % ("count", ""): f"0+100x{minutes}"}
    return counts | {PREDICT % 200: f"0+100x{minutes}"}


def _out(share: int, volume: int = 100) -> dict[str, str]:
    return {
        'model_predictions_total{model_version="7"}': f"0+{volume}x60",
        'model_out_of_range_predictions_total{model_version="7"}': f"0+{share * volume / 100:g}x60",
    }


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
DRIFT, JOB = 'beacon_drift_confirmed{kind="data",feature="RM"}', 'beacon_job_failures_total{job="drift"}'

CASES = (
    Case("BeaconApiDown", "", {BUILD % "console": "1x9"}, 0, 1, {BUILD % "inference": "1x9"}),
    Case(BURN, 'long="1h"', _requests(90, 10, 99) | PROBES, 2, 4, _requests(93, 7, 99)),
    # Nine failures are too few to page for, whatever their share.
    Case(BURN, 'long="1h"', _requests(90, 10, 99), 2, 4, SLO | {PREDICT % 200: "9x99", PREDICT % 503: "0 9x98"}),
    # After recovery the short window takes the page back.
    Case(BURN, 'long="1h"', _requests(90, 10, 99), 2, 20, SLO | {PREDICT % 200: "0+90x99", PREDICT % 503: "0 400x98"}),
    Case(BURN, 'long="6h"', _requests(960, 40, 400), 14, 18, _requests(980, 20, 400)),
    Case(BURN, 'long="1d"', _requests(980, 20, 1500), 58, 64, _requests(990, 10, 1500)),
    Case(BURN, 'long="3d"', _requests(990, 10, 4400), 178, 184, _requests(997, 3, 4400)),
    Case("BeaconLatencyBudgetBurn", "", _slow(80, 60), 2, 10, _slow(90, 60)),
    Case("BeaconDependencyErrors", "", {ERRORS % READY: "0+9x60"}, 4, 14, {ERRORS % "not_found": "0+9x60"}),
    Case(
        "BeaconDependencyErrors",
        "",
        {ERRORS % READY: "0+9x60"},
        4,
        14,
        {ERRORS % READY: "0+1x60"},
    ),
    Case("BeaconPredictionLogDropping", "", {DROPPED: "0 0 0 1x30"}, 1, 4, {DROPPED: "5x40"}),
    Case("BeaconStoreDown", "", {STORE: "0x20"}, 4, 5, {STORE: "1x20"}),
    Case("BeaconPredictionsOutOfRange", 'severity="critical"', _out(30), 4, 12, _out(20)),
    Case("BeaconPredictionsOutOfRange", 'severity="critical"', _out(30), 4, 12, _out(30, volume=2)),
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
    Case("Watchdog", "", {}, -1, 0, {}),
)
