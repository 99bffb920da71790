"""One run, in one screen: profile what has changed, compare, judge, store, request a retraining."""

import math
from datetime import datetime, timedelta
from typing import Any

import msgspec

from beacon_core.data import drift_results, profiles
from beacon_core.data.database import Engine
from beacon_core.data.job_runs import recorded
from beacon_core.data.prediction_log.partitions import HOUR
from beacon_core.data.run_lock import only_one
from beacon_core.domain.pins import NAME, Pin
from beacon_core.domain.policy import large_residual
from beacon_core.domain.product import Product
from beacon_core.model_package.download import bring_package
from beacon_core.model_package.release import ReleaseError, read_release
from beacon_core.model_package.signature import trust_of
from beacon_core.platform.engine import LOCAL, JobEngine
from beacon_core.platform.files import write_atomically
from beacon_core.platform.settings import Settings
from beacon_drift_profiling.assessment import alarms, messages
from beacon_drift_profiling.assessment.assess import VersionAssessment, assess
from beacon_drift_profiling.assessment.results import Alarm, RunResults, worst_first
from beacon_drift_profiling.profiling.packages import NoReference, Reference, load_reference
from beacon_drift_profiling.profiling.profiling import (
    ProfilingCounts,
    References,
    expected_error,
    hour_of,
    profile_log,
)
from beacon_drift_profiling.report import report
from beacon_drift_profiling.retraining_requests import trigger

JOB = "drift"
TREND_RUNS = 7 * 24


class Outcome(msgspec.Struct, frozen=True):
    """What came of a run."""

    profiled: ProfilingCounts
    run: RunResults
    request: trigger.RequestOutcome


def run_drift(
    settings: Settings,
    product: Product,
    engine: Engine,
    now: datetime,
    per_segment: bool = False,
    jobs: JobEngine = LOCAL,
) -> Outcome:
    """Profile, compare and store once; raises `BusyError` while another run is at work.

    `jobs` runs what reads a lake. Safe to repeat and to kill: the next run completes it.
    """
    period = hour_of(now).isoformat()
    span = timedelta(days=max(*product.policy.drift.windows_days, *product.policy.quality.windows_days) + 1)
    trust = trust_of(settings)

    def reference(version: str, sha256: str) -> Reference | NoReference:
        if NAME.fullmatch(version):
            bring_package(settings, Pin(product.name, version, sha256), trust)
        return load_reference(settings.models_dir, product, version, sha256, trust)

    references = References(reference)
    with only_one(engine, settings.home / "run", profiles.LOCK):
        with recorded(engine, JOB, period, "profile") as note:
            profiled = profile_log(engine, product, references, now, span, per_segment, jobs)
            note.rows, note.details = profiled.rows, msgspec.to_builtins(profiled)
        with recorded(engine, JOB, period, "compare") as note:
            run = _judge(settings, product, engine, references, now)
            request = _store(settings, product, engine, run)
            note.rows, note.details = run.rows, run.summary | {"retraining": request.why}
    return Outcome(profiled, run, request)


def _judge(settings: Settings, product: Product, engine: Engine, references: References, now: datetime) -> RunResults:
    period, end = hour_of(now).isoformat(), hour_of(now) + HOUR
    longest = timedelta(days=max(*product.policy.drift.windows_days, *product.policy.quality.windows_days))
    with engine.connect() as connection:
        versions = profiles.versions(connection, end - longest, end)
        found = {version: references.of(connection, version) for version in versions}
    serving = _serving(settings, product, versions)
    assessed = {version: assess(engine, product, found[version], end, period) for version in versions}
    mine = assessed.get(serving) if serving else None
    reference = found.get(serving) if serving else None
    confirmed = [] if mine is None else [result for result in worst_first(mine.results) if result.confirmed]
    drift, error = [], None
    if mine is not None and isinstance(reference, Reference):
        with engine.connect() as connection:
            runs = product.policy.drift.confirm[1] - 1
            earlier = drift_results.earlier_figures(connection, period, mine.version, runs)
        drift = alarms.drift_alarms(mine.results, reference, product)
        error = alarms.error_alarm(mine.realised, earlier, reference, product, mine.error_client)
    raised = drift + ([error] if error else [])
    state = _state(mine, bool(confirmed), error is not None)
    return RunResults(
        period=period,
        product=product.title,
        created_at=now,
        serving=serving,
        state=state,
        rows=_rows(mine),
        messages=[messages.drift_message(result, product) for result in confirmed] + ([error.reason] if error else []),
        results=[result for assessment in assessed.values() for result in assessment.results],
        realised=[part for assessment in assessed.values() for part in assessment.realised],
        distributions=mine.distributions if mine else {},
        alarms=raised,
        summary=_summary(product, serving, assessed, found, state, raised),
    )


def _serving(settings: Settings, product: Product, versions: list[str]) -> str | None:
    """Return the released version; where this machine has no release file, the one that answered last."""
    try:
        pin = read_release(settings.release_file).model
    except ReleaseError:
        return versions[-1] if versions else None
    return pin.version if pin.name == product.name else None


def _rows(assessment: VersionAssessment | None) -> int:
    return max((result.rows for result in assessment.results), default=0) if assessment else 0


def _state(assessment: VersionAssessment | None, drifts: bool, error: bool) -> str:
    if error:
        return drift_results.ERROR
    if drifts:
        return drift_results.DRIFT
    if assessment is None or not any(
        result.state in {drift_results.OK, drift_results.DRIFT} for result in assessment.results
    ):
        return drift_results.WAITING
    return drift_results.OK


def _summary(
    product: Product,
    serving: str | None,
    assessed: dict[str, VersionAssessment],
    found: dict[str, Reference | NoReference],
    state: str,
    raised: list[Alarm],
) -> dict[str, Any]:
    return {
        "state": state,
        "serving": serving,
        "versions": {
            version: {
                "rows": _rows(assessment),
                "profiles_merged": assessment.profiles,
                "reference": reference.reason if isinstance(reference, NoReference) else "ok",
                "large_residual": _large_residual(product, reference),
                "confirmed": sorted({result.feature for result in assessment.results if result.confirmed}),
            }
            for version, assessment in assessed.items()
            for reference in [found[version]]
        },
        "alarms": [msgspec.to_builtins(alarm) for alarm in raised],
    }


def _large_residual(product: Product, reference: Reference | NoReference) -> float | None:
    """The residual above which one of a version is large; None where its expected error is not known."""
    limit = large_residual(product.policy.quality, expected_error(reference))
    return limit if math.isfinite(limit) else None


def _store(settings: Settings, product: Product, engine: Engine, run: RunResults) -> trigger.RequestOutcome:
    """Write everything in one transaction, then the files of a laptop."""
    with engine.begin() as connection:
        windows = [drift_results.window_name(days) for days in product.policy.drift.windows_days]
        trends = {
            window: drift_results.effect_trends(connection, run.period, run.serving or "", window, TREND_RUNS)
            for window in windows
        }
        request = trigger.request_retraining(connection, product, run.serving or "", run.alarms, run.created_at)
        page = report.page(run, product, trends, request)
        row = drift_results.DriftRun(run.period, run.created_at, run.state, run.rows, run.summary)
        drift_results.write(connection, row, page, run.results, run.realised, run.distributions)
    folder = settings.home / "reports" / "drift"
    name = run.period.replace(":", "").replace("+0000", "Z")
    for suffix, content in ((".json", msgspec.json.format(msgspec.json.encode(run)).decode()), (".html", page)):
        for stem in (name, "latest"):
            # Not durable: the store keeps the same report.
            write_atomically(folder / f"{stem}{suffix}", content.encode(), durable=False)
    return request
