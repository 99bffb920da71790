"""Each service's statements, run by PostgreSQL as its own role: a right that is missing fails here.

The sources of the services say which functions of the data room they call, and every one of them has a call here.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import ProgrammingError
from support.postgres import Postgres, postgres_with_roles

from beacon_core.data import (
    actuals,
    approvals,
    champion,
    drift_results,
    erasure,
    job_runs,
    ledger,
    prediction_log,
    predictions,
    profiles,
    removals,
    retention,
    retrain_requests,
    run_lock,
    size,
    verdicts,
    watermarks,
)
from beacon_core.data.database import Connection, open_store
from beacon_core.data.evidence import EVERYTHING
from beacon_core.data.prediction_log import labels, log_pages, log_rows, partitions, traffic, which_actual
from beacon_core.data.prediction_log import promotion_evidence as promotion
from beacon_core.data.roles import GRANTS
from beacon_core.data.tables import predictions as predictions_table
from beacon_core.domain.ledger_entries import Entry
from beacon_core.domain.pins import Pin
from beacon_core.domain.retention import Retention
from beacon_core.domain.verdict import ComparedModel, Verdict
from beacon_core.platform.settings import ROOT

SERVICES = {f"beacon_{role.removeprefix('beacon_')}": role for role in GRANTS}
"""By package: they are called alike."""
RETENTION = "beacon_retention"
"""The role of two jobs, which are no package."""
RETENTION_SOURCES = ("core/beacon_core/commands/expire.py", "core/beacon_core/commands/forget.py")
NO_STATEMENT = {
    "approvals.approvals_of",
    "approvals.is_approved",
    "removals.digests_of",
    "drift_results.window_name",
    "database.open_store",
    "database.mapped_errors",
    "database.migrate",
    "database.hold_migrations",
    "lake_upkeep.count",
    "lake_upkeep.expire",
    "prediction_log.reading.lake_of",
    "prediction_log.lake_joins.actuals_of",
    "prediction_log.lake.scan_tables",
    "prediction_log.lake.blocks.microseconds",
    "prediction_log.lake.columns.column_of",
    "prediction_log.lake.columns.kind_of",
    "prediction_log.lake.rows.tuples",
    "lake_upkeep.erase_late_rows",
    "prediction_log.lake.append_records",
    "prediction_log.reading.lake_source",
    "prediction_log.reading.open_log",
    "prediction_log.reading.options_of",
}
"""Functions that ask nothing of our tables, or the lake, and the migration, which test_database_roles.py is about."""
BY_A_PERSON = {"beacon_retraining/commands/approve.py"}
"""Commands that run with the login of somebody else: a person approves as the console does, where there are roles."""

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
HOUR = NOW.replace(minute=0)
LONG_AGO = NOW - timedelta(days=40)
PRODUCT, SHA = "cars", "a" * 64
PARTITION = partitions.Partition(HOUR, "1")
CONTENT = profiles.ProfileContent("d", "b", 0, 1.0, {})
PIN = Pin(PRODUCT, "1", SHA)
ENTRY = Entry(
    key="run/end", run="run", moment=NOW, product=PRODUCT, target="cluster", actor="the gate", action="promote",
    step="end", outcome="promoted", message="it serves", before=PIN, after=PIN, serving=(PIN,),
)  # fmt: skip
VERDICT = Verdict(
    product=PRODUCT, outcome="pass", reason="better", checks=(), slices=(), method="backtest", how="", rows=1,
    confidence=0.95, data_fingerprint="f" * 64, challenger=ComparedModel("1", SHA, "ridge", "f" * 64, NOW.isoformat()),
    champion=None, revision="r", moment=NOW.isoformat(),
)  # fmt: skip
RESULT = drift_results.DriftResult(
    "7d", "1", "data", "doors", "hellinger", "drift", 0.5, 0.01, 0.1, 10, alarm=True, confirmed=True, details={}
)
FIGURES = drift_results.RealisedFigures("7d", "1", NOW, [drift_results.Figure("mae", "", 1.0, 0.5, 1.5, 10)])
RUN = drift_results.DriftRun("2026-11-30T08", NOW, "drift", 10, {})


VALUES = count()
GONE = count()
KEPT = Retention(predictions_days=9000, actuals_days=9000, drift_days=9000)
"""Of which no row here is too old: the statements run, and delete nothing that another function needs."""
REMOVAL = removals.Removal("run", NOW, PRODUCT, "erasure", "begun", "Ann", "so", {"entity": [], "ids": []})


def row(name: str, minutes: float = 0) -> predictions.PredictionRow:
    time = (NOW + timedelta(minutes=minutes)).isoformat()
    return predictions.PredictionRow(
        name, "car-1", '{"doors": 4}', '["doors"]', "[]", "[]", 1.0, 0.0, 2.0, 1.5, None,
        time, "1", SHA, "2", 0.01, "q", None, None,
    )  # fmt: skip


def _partitions(connection: Connection) -> object:
    since = watermarks.Watermark(LONG_AGO, LONG_AGO)
    return [partitions.changed_partitions(connection, each, EVERYTHING) for each in (watermarks.Watermark(), since)]


def _drift(connection: Connection) -> None:
    for _ in range(2):  # the second run stands in for the first
        drift_results.write(connection, RUN, "<html>", [RESULT], [FIGURES], {})


def _recorded(engine: Engine) -> None:
    with job_runs.recorded(engine, "drift", "2026-11-30", "profile") as run:
        run.rows = 1


def _locked(engine: Engine) -> None:
    with run_lock.only_one(engine, Path(), "drift"):
        pass


def _erase(engine: Engine) -> None:
    """A prediction of its own goes, and drift reads its hour again."""
    with engine.begin() as connection:
        watermarks.write(connection, erasure.PROFILE_JOB, watermarks.Watermark(NOW + timedelta(days=90_000)))
    erasure.erase(engine, erasure.Subject(ids=(f"gone-{next(GONE)}",)))


def _decide(connection: Connection) -> None:
    for decision in (approvals.APPROVED, approvals.REJECTED):
        approvals.decide(connection, PRODUCT, "1", decision, "Ann", "so")


def _actuals(connection: Connection) -> None:
    by_id = actuals.Actual(float(next(VALUES)), NOW, "here", prediction_id="one")  # what is known is not stored again
    for actual in (by_id, by_id, actuals.Actual(3.0, NOW, "here", entity="car-1")):
        actuals.add(connection, actual, NOW)


ON_CONNECTIONS: dict[str, Callable[[Connection], object]] = {
    "predictions.insert": lambda c: [predictions.insert(c, [row("one"), row("two", 1)]) for _ in range(2)],
    "prediction_log.find": lambda c: prediction_log.find(c, ["one"]),
    "prediction_log.scan": lambda c: list(prediction_log.scan(c, prediction_log.LogSlice(looked_up=True), ["id"])),
    "prediction_log.log_pages.oldest_time": log_pages.oldest_time,
    "prediction_log.log_pages.newest_values": lambda c: log_pages.newest_values(c, "doors", 3),
    "prediction_log.log_pages.page_of": lambda c: log_pages.page_of(c, log_pages.LogFilter(has_actual=True), None, 3),
    "prediction_log.log_pages.shadow_pairs": lambda c: log_pages.shadow_pairs(c, "1", "2", ["doors"], 3),
    "actuals.add": _actuals,
    "prediction_log.which_actual.find": lambda c: which_actual.find(c, "one", "car-1", NOW),
    "actuals.last_received": actuals.last_received,
    "prediction_log.labels.labelled_predictions": lambda c: list(labels.labelled_predictions(c, EVERYTHING)),
    "prediction_log.log_rows.rows_after": lambda c: log_rows.rows_after(
        c, LONG_AGO, NOW, log_pages.LogPosition(LONG_AGO, "a"), 10
    ),
    "prediction_log.partitions.changed_partitions": _partitions,
    "prediction_log.partitions.newest_digest": lambda c: partitions.newest_digest(c, "1"),
    "prediction_log.partitions.rows_of": lambda c: list(partitions.rows_of(c, PARTITION, EVERYTHING)),
    "prediction_log.partitions.recent_actuals": lambda c: partitions.recent_actuals(c, PARTITION),
    "prediction_log.partitions.logged_rows": lambda c: partitions.logged_rows(c, PARTITION),
    "profiles.digest_of": lambda c: profiles.digest_of(c, PARTITION),
    "profiles.digests": lambda c: profiles.digests(c, "1", "b", LONG_AGO, NOW),
    "profiles.get": lambda c: profiles.get(c, PARTITION),
    "profiles.hours_with_labels": lambda c: profiles.hours_with_labels(c, "1", NOW, timedelta(days=1)),
    "profiles.versions": lambda c: profiles.versions(c, LONG_AGO, NOW),
    "profiles.with_other_bins": lambda c: profiles.with_other_bins(c, LONG_AGO, {}),
    "drift_results.write": _drift,
    "drift_results.distributions_in": lambda c: drift_results.distributions_in(c, "7d"),
    "drift_results.distributions_of": lambda c: drift_results.distributions_of(c, "doors"),
    "drift_results.trends_of": lambda c: drift_results.trends_of(c, [RUN.period], "7d", "doors"),
    "drift_results.earlier_alarms": lambda c: drift_results.earlier_alarms(c, "2027", "1", 3),
    "drift_results.earlier_figures": lambda c: drift_results.earlier_figures(c, "2027", "1", 3),
    "drift_results.effect_trends": lambda c: drift_results.effect_trends(c, "2027", "1", "7d", 3),
    "drift_results.figure_trend": lambda c: drift_results.figure_trend(c, [RUN.period], "7d", "mae"),
    "drift_results.figures_of": lambda c: drift_results.figures_of(c, RUN.period),
    "drift_results.large_residual_of": lambda c: drift_results.large_residual_of(c, "1"),
    "drift_results.newest_periods": lambda c: drift_results.newest_periods(c, 3),
    "drift_results.newest_run": drift_results.newest_run,
    "drift_results.newest_runs": lambda c: drift_results.newest_runs(c, 3),
    "drift_results.report_of": lambda c: drift_results.report_of(c, RUN.period),
    "drift_results.results_of": lambda c: drift_results.results_of(c, RUN.period),
    "drift_results.run_of": lambda c: drift_results.run_of(c, RUN.period),
    "drift_results.score_trend": lambda c: drift_results.score_trend(c, [RUN.period], "7d"),
    "watermarks.read": lambda c: watermarks.read(c, "drift"),
    "watermarks.write": lambda c: [watermarks.write(c, "drift", watermarks.Watermark(NOW, NOW)) for _ in range(2)],
    "retrain_requests.add": lambda c: retrain_requests.add(c, "another", "drift", "why", "1", ["doors"], NOW),
    "retrain_requests.ask": lambda c: retrain_requests.ask(c, PRODUCT, "Ada", "new prices came in", NOW),
    "retrain_requests.take": lambda c: retrain_requests.take(c, ["cause"], NOW),
    "retrain_requests.release": lambda c: retrain_requests.release(c, ["cause"], "later"),
    "retrain_requests.end": lambda c: retrain_requests.end(c, ["cause"], "done", "trained", NOW),
    "retrain_requests.counts": retrain_requests.counts,
    "retrain_requests.last_request_at": retrain_requests.last_request_at,
    "retrain_requests.newest": lambda c: retrain_requests.newest(c, 3),
    "retrain_requests.open_cause": retrain_requests.open_cause,
    "retrain_requests.open_causes": retrain_requests.open_causes,
    "retrain_requests.subjects_of": lambda c: retrain_requests.subjects_of(c, "drift", "1"),
    "job_runs.last_done_at": lambda c: job_runs.last_done_at(c, "drift", "profile"),
    "job_runs.newest_stages": lambda c: job_runs.newest_stages(c, 3),
    "job_runs.run_of": lambda c: job_runs.run_of(c, 1),
    "job_runs.statuses": job_runs.statuses,
    "verdicts.pins": lambda c: verdicts.pins(c, PRODUCT),
    "verdicts.history": lambda c: verdicts.history(c, PRODUCT, 3),
    "approvals.decide": _decide,
    "approvals.history": lambda c: approvals.history(c, [SHA]),
    "approvals.newest": lambda c: approvals.newest(c, SHA),
    "ledger.change_of": lambda c: ledger.change_of(c, ENTRY),
    "ledger.counts": lambda c: ledger.counts(c, PRODUCT),
    "ledger.ends": lambda c: ledger.ends(c, PRODUCT),
    "ledger.history": lambda c: ledger.history(c, PRODUCT),
    "ledger.served_at": lambda c: ledger.served_at(c, PRODUCT, NOW),
    "prediction_log.traffic.by_hour": lambda c: traffic.by_hour(c, NOW, 3),
    "prediction_log.traffic.count": traffic.count,
    "prediction_log.traffic.current_version": lambda c: traffic.current_version(c, traffic.versions(c)),
    "prediction_log.traffic.newest_latencies": lambda c: traffic.newest_latencies(c, LONG_AGO, 3),
    "prediction_log.traffic.versions": traffic.versions,
    "size.database_bytes": size.database_bytes,
    "removals.append": lambda c: removals.append(c, REMOVAL),
    "removals.newest": removals.newest,
    "removals.erasures_since": lambda c: list(removals.erasures_since(c, PRODUCT, LONG_AGO)),
}  # fmt: skip
ON_ENGINES: dict[str, Callable[[Engine], object]] = {
    "job_runs.recorded": _recorded,
    "run_lock.only_one": _locked,
    "profiles.put": lambda e: [profiles.put(e, PARTITION, profiles.WHOLE, b"", 1, CONTENT) for _ in range(2)],
    "retention.count": lambda e: retention.count(e, KEPT, NOW),
    "retention.expire": lambda e: retention.expire(e, KEPT, NOW),
    "erasure.count": lambda e: erasure.count(e, erasure.Subject(entity="nobody")),
    "erasure.erase": _erase,
    "erasure.erase_late_rows": lambda e: erasure.erase_late_rows(e, PRODUCT, NOW),
    "erasure.compact": erasure.compact,
    "champion.champion": lambda e: champion.champion(e, PRODUCT),
    "verdicts.record": lambda e: verdicts.record(e, VERDICT),
    "verdicts.newest": lambda e: verdicts.newest(e, PRODUCT, "1", SHA),
    "verdicts.versions": lambda e: verdicts.versions(e, PRODUCT),
    "ledger.append_all": lambda e: [ledger.append_all(e, [ENTRY]) for _ in range(2)],  # a row that is there stays
    "prediction_log.promotion_evidence.newest_features": lambda e: promotion.newest_features(e, EVERYTHING, 3),
    "prediction_log.promotion_evidence.newest_labelled": lambda e: promotion.newest_labelled(
        e, EVERYTHING, LONG_AGO, 3
    ),
    "prediction_log.promotion_evidence.realised_error": lambda e: promotion.realised_error(
        e, EVERYTHING, "1", LONG_AGO
    ),
    "prediction_log.promotion_evidence.shadow_answers": lambda e: promotion.shadow_answers(
        e, EVERYTHING, "2", LONG_AGO
    ),
}


def called(package: str) -> set[str]:
    """The functions of the data room that a service's sources call, as MODULE.FUNCTION."""
    files = [ROOT / "services" / source for source in RETENTION_SOURCES]
    if package != RETENTION:
        (folder,) = (ROOT / "services").glob(f"*/{package}")
        named = {file: file.relative_to(folder.parent).as_posix() for file in folder.rglob("*.py")}
        files = [file for file, name in named.items() if name not in BY_A_PERSON]
    found = set()
    for file in files:
        found |= _called_in(ast.parse(file.read_text(encoding="utf-8")))
    return found - NO_STATEMENT


def _called_in(tree: ast.Module) -> set[str]:
    room, found, modules = "beacon_core.data", set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == room:
            modules |= {name.asname or name.name: name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{room}."):
            inside = str(node.module).removeprefix(f"{room}.")
            names = {name.asname or name.name: f"{inside}.{name.name}" for name in node.names}
            modules |= {own: name for own, name in names.items() if _is_module(name)}
            found |= {name for name in names.values() if _is_function(name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            name = f"{modules[node.value.id]}.{node.attr}"
            found |= {name} if _is_function(name) else set()
    return found


def _is_function(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return inspect.isfunction(getattr(import_module(f"beacon_core.data.{module}"), attribute, None))


def _is_module(name: str) -> bool:
    return find_spec(f"beacon_core.data.{name}") is not None if _is_package(name) else False


def _is_package(name: str) -> bool:
    """Whether what a name lies in has modules at all."""
    return hasattr(import_module(f"beacon_core.data.{name.rpartition('.')[0]}"), "__path__")


CALLS = [(package, name) for package in sorted(SERVICES) for name in sorted(called(package))]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    """The roles, and rows of every kind that one function leaves for another."""
    with postgres_with_roles() as running:
        with logged_in(running, "beacon") as administrator:
            with administrator.begin() as connection:
                for name in ("predictions.insert", "actuals.add", "drift_results.write", "watermarks.write"):
                    ON_CONNECTIONS[name](connection)
                long_ago = LONG_AGO.isoformat()
                gone = [row(f"gone-{number}")._replace(time=long_ago, model_version="9") for number in range(500)]
                predictions.insert(connection, gone)
                retrain_requests.add(connection, "cause", "drift", "why", "1", ["doors"], NOW)
                retrain_requests.take(connection, ["cause"], NOW)
                retrain_requests.end(connection, ["cause"], retrain_requests.DONE, "trained", NOW)  # none is open
            for name in ("profiles.put", "verdicts.record", "ledger.append_all", "job_runs.recorded"):
                ON_ENGINES[name](administrator)
        yield running


@contextmanager
def logged_in(cluster: Postgres, role: str) -> Iterator[Engine]:
    engine = open_store(cluster.url_of(role))
    try:
        yield engine
    finally:
        engine.dispose()


def run(engine: Engine, name: str) -> Any:
    if name in ON_ENGINES:
        return ON_ENGINES[name](engine)
    with engine.begin() as connection:
        return ON_CONNECTIONS[name](connection)


@pytest.mark.parametrize(("package", "name"), CALLS)
def test_a_service_may_do_what_its_code_does(cluster: Postgres, package: str, name: str) -> None:
    assert name in ON_CONNECTIONS | ON_ENGINES, f"{package} calls {name}: say here how, and see that its role may"
    with logged_in(cluster, SERVICES[package]) as engine:
        run(engine, name)


def test_the_sources_were_read() -> None:
    packages = {package for package, _ in CALLS}
    assert packages == set(SERVICES)
    assert {"actuals.add", "predictions.insert"} <= called("beacon_prediction_log")
    assert called("beacon_prober") == set()  # which has no role
    unused = (ON_CONNECTIONS | ON_ENGINES).keys() - {name for _, name in CALLS}
    assert not unused


@pytest.mark.parametrize("role", sorted(GRANTS))
def test_no_verb_is_given_that_no_function_needs(cluster: Postgres, role: str) -> None:
    """A right is taken away, and some function of the service must miss it."""
    mine = [name for package, name in CALLS if SERVICES[package] == role]
    for table, verbs in GRANTS[role].items():
        for verb in verbs:
            if table in {"alembic_version", "schema_support"}:  # which a job asks as it starts
                continue
            cluster.query(f"REVOKE {verb} ON {table} FROM {role}")
            try:
                with logged_in(cluster, role) as engine:
                    assert any(_is_refused(engine, name) for name in mine), f"{verb} on {table}"
            finally:
                cluster.query(f"GRANT {verb} ON {table} TO {role}")


def _is_refused(engine: Engine, name: str) -> bool:
    try:
        run(engine, name)
    except Exception as error:  # noqa: BLE001 - the data room maps some of them
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ProgrammingError) and "permission denied" in str(cause):
                return True
            cause = cause.__cause__
    return False


def test_predictions_are_counted_though_nobody_may_count(cluster: Postgres) -> None:
    """Counted as they are made: the rows that retention deleted stay counted."""
    rows = select(func.count()).select_from(predictions_table)
    with logged_in(cluster, "beacon_console") as reader:
        with reader.connect() as connection:
            before, stored = traffic.count(connection), connection.scalar(rows) or 0
        with logged_in(cluster, "beacon_prediction_log") as engine, engine.begin() as connection:
            predictions.insert(connection, [row("three", 2), row("four", 3)])
        with reader.connect() as connection:
            assert traffic.count(connection) == before + 2
            assert connection.scalar(rows) == stored + 2


def test_a_model_cannot_approve_itself(cluster: Postgres) -> None:
    with logged_in(cluster, "beacon_retraining") as engine:
        assert _is_refused(engine, "approvals.decide")
