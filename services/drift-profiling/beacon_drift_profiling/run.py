"""One run, in one screen: profile what is new, compare, judge, keep, ask for a retraining."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Engine

from beacon_core.data.job_runs import recorded
from beacon_core.data.run_lock import only_one
from beacon_core.domain.product import Product
from beacon_core.model_package.release import ReleaseError, read_release
from beacon_core.platform.files import write_atomically
from beacon_core.platform.kubernetes import pod_access
from beacon_core.platform.settings import Settings
from beacon_drift_profiling.assessment import results, words
from beacon_drift_profiling.assessment.assess import Assessment, assess
from beacon_drift_profiling.assessment.results import Run
from beacon_drift_profiling.profiling import shelf
from beacon_drift_profiling.profiling.packages import NoReference, Reference, load_reference
from beacon_drift_profiling.profiling.profiling import (
    Profiled,
    References,
    Shard,
    all_shards_done,
    hour_of,
    profile_log,
)
from beacon_drift_profiling.report import report
from beacon_drift_profiling.retraining_requests import cluster, trigger

JOB = "drift"
HOUR = timedelta(hours=1)
TREND_RUNS = 7 * 24


class Outcome(msgspec.Struct, frozen=True):
    """What came of a run; `run` is None where other shards are still at work."""

    profiled: Profiled
    run: Run | None
    asked: trigger.Asked | None


def run_drift(
    settings: Settings, product: Product, engine: Engine, now: datetime, shard: Shard, per_segment: bool = False
) -> Outcome:
    """Run once; raises `BusyError` when the same is under way.

    Safe to repeat and to kill: the next run completes it.
    """
    period = hour_of(now).isoformat()
    span = timedelta(days=max(*product.policy.drift.windows_days, *product.policy.quality.windows_days) + 1)
    references = References(lambda version, sha256: load_reference(settings.models_dir, product, version, sha256))
    locks = settings.home / "run"
    with only_one(engine, locks, f"{JOB}-profile/{shard.index}/{shard.count}"):
        with recorded(engine, JOB, period, "profile") as note:
            profiled = profile_log(engine, product, references, now, span, shard, per_segment)
            note.rows, note.details = profiled.rows, msgspec.to_builtins(profiled)
        if not all_shards_done(engine, now, shard.count):
            return Outcome(profiled, None, None)
        with only_one(engine, locks, f"{JOB}-compare"), recorded(engine, JOB, period, "compare") as note:
            run = _judge(settings, product, engine, references, now)
            asked = _keep(settings, product, engine, run)
            _start(settings, engine)
            note.rows, note.details = run.rows, run.summary | {"retraining": asked.why}
    return Outcome(profiled, run, asked)


def _judge(settings: Settings, product: Product, engine: Engine, references: References, now: datetime) -> Run:
    period, end = hour_of(now).isoformat(), hour_of(now) + HOUR
    longest = timedelta(days=max(*product.policy.drift.windows_days, *product.policy.quality.windows_days))
    with engine.connect() as connection:
        versions = shelf.versions(connection, end - longest, end)
        found = {version: references.of(connection, version) for version in versions}
    serving = _serving(settings, product, versions)
    assessed = {version: assess(engine, product, found[version], end, period) for version in versions}
    alarms, confirmed = [], []
    mine = assessed.get(serving) if serving else None
    reference = found.get(serving) if serving else None
    if mine is not None:
        confirmed = [result for result in results.worst_first(mine.results) if result.confirmed]
    if mine is not None and isinstance(reference, Reference):
        with engine.connect() as connection:
            earlier = results.earlier_figures(connection, period, mine.version, product.policy.drift.confirm[1] - 1)
        error = words.error_alarm(mine.realised, earlier, reference, product)
        alarms = words.alarms_of(mine.results, reference, product) + ([error] if error else [])
    state = _state(mine, bool(confirmed), any(alarm.about.startswith("error") for alarm in alarms))
    return Run(
        period=period,
        product=product.title,
        created_at=now,
        serving=serving,
        state=state,
        rows=_rows(mine),
        words=[words.say_result(result, product) for result in confirmed]
        + [alarm.reason for alarm in alarms if alarm.about.startswith("error")],
        results=[result for assessment in assessed.values() for result in assessment.results],
        realised=[part for assessment in assessed.values() for part in assessment.realised],
        pictures=mine.pictures if mine else {},
        alarms=alarms,
        summary=_summary(serving, assessed, found, state, alarms),
    )


def _serving(settings: Settings, product: Product, versions: list[str]) -> str | None:
    """Return the released version; where this machine has no release file, the one that answered last."""
    try:
        pin = read_release(settings.release_file).model
    except ReleaseError:
        return versions[-1] if versions else None
    return pin.version if pin.name == product.name else None


def _rows(assessment: Assessment | None) -> int:
    return max((result.rows for result in assessment.results), default=0) if assessment else 0


def _state(assessment: Assessment | None, drifts: bool, error: bool) -> str:
    if error:
        return results.ERROR
    if drifts:
        return results.DRIFT
    if assessment is None or not any(result.state in {results.OK, results.DRIFT} for result in assessment.results):
        return results.WAITING
    return results.OK


def _summary(
    serving: str | None,
    assessed: dict[str, Assessment],
    found: dict[str, Reference | NoReference],
    state: str,
    alarms: list[results.Alarm],
) -> dict[str, Any]:
    return {
        "state": state,
        "serving": serving,
        "versions": {
            version: {
                "rows": _rows(assessment),
                "profiles_merged": assessment.profiles,
                "reference": reference.reason if isinstance(reference, NoReference) else "ok",
                "confirmed": sorted({result.feature for result in assessment.results if result.confirmed}),
            }
            for version, assessment in assessed.items()
            for reference in [found[version]]
        },
        "alarms": [msgspec.to_builtins(alarm) for alarm in alarms],
    }


def _keep(settings: Settings, product: Product, engine: Engine, run: Run) -> trigger.Asked:
    """Write everything in one transaction, then the files of a laptop."""
    with engine.begin() as connection:
        windows = [f"{days}d" for days in product.policy.drift.windows_days]
        trends = {
            window: results.trend(connection, run.period, run.serving or "", window, TREND_RUNS) for window in windows
        }
        asked = trigger.ask(connection, product, run.serving or "", run.alarms, run.created_at)
        page = report.page(run, product, trends, asked)
        results.write(connection, run, page)
    folder = settings.home / "reports" / "drift"
    name = run.period.replace(":", "").replace("+0000", "Z")
    for suffix, content in ((".json", msgspec.json.format(msgspec.json.encode(run)).decode()), (".html", page)):
        for stem in (name, "latest"):
            # The store has the same, and keeps it.
            write_atomically(folder / f"{stem}{suffix}", content.encode(), durable=False)
    return asked


def _start(settings: Settings, engine: Engine) -> None:
    """On a cluster, start the Job of every request that nobody has taken; a request stays if the API is down."""
    access = pod_access()
    if access is None or not settings.retrain_cronjob:
        return
    with engine.connect() as connection:
        causes = trigger.unanswered(connection)
    for cause in causes:
        cluster.start_job(access, settings.retrain_cronjob, cause)
