"""Materialization that claims the future, or passes over rows: refused with the reason, mended, and nothing is lost."""

import importlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from feast.data_source import PushMode
from support.data_files import data_path
from support.feature_homes import Features, feature_home, features_of, fill_from_file, items, offline
from support.service import Answer
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.feature_store import definitions, repo
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.platform import clock

pytestmark = [pytest.mark.xdist_group("data"), pytest.mark.timeout(600)]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FUTURE = (timedelta(minutes=6), HOUR, 365 * DAY, 36_500 * DAY)


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with feature_home(tmp_path, request.param) as settings:
        yield settings


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return items(tmp_path / "product")


@pytest.fixture
def features(settings: Settings, product: Product) -> Iterator[Features]:
    fill_from_file(settings, product)
    with features_of(settings, product) as features:
        yield features


def now() -> datetime:
    return datetime.now(UTC)


def view_end(settings: Settings, product: Product) -> datetime | None:
    """When the registry says that the last materialization ended."""
    return repo.open_store(settings).get_feature_view(definitions.view_name(product)).most_recent_end_time  # type: ignore[no-any-return]


def incremental(features: Features, end: datetime) -> Answer:
    return features.post("/materialize-incremental", {"end_ts": end.isoformat()})


def interval(features: Features, start: datetime, end: datetime) -> Answer:
    return features.post("/materialize", {"start_ts": start.isoformat(), "end_ts": end.isoformat()})


def push_offline(features: Features, entity: int, event: datetime, size: float, **more: Any) -> None:
    answer = features.push(features.row(entity, event, size=size, **more), "offline")
    assert answer.status == 200, answer.body


def size(features: Features, entity: int) -> float | None:
    return features.read(entity)[0]["size"]  # type: ignore[no-any-return]


def run_job(settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """jobs/materialize.py, as `python jobs/materialize.py` runs it."""
    for name, value in (("HOME", settings.home), ("FEATURE_REPO", settings.feature_repo), ("PRODUCT", product.file)):
        monkeypatch.setenv(f"BEACON_{name}", str(value))
    monkeypatch.setattr(sys, "argv", ["materialize", *arguments])
    return int(importlib.import_module("beacon_feature_serving.commands.materialize").main())


def test_an_end_in_the_future_is_refused_with_the_reason_and_stops_nothing(
    features: Features, settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for end in (now() + ahead for ahead in FUTURE):
        whole = now() - DAY, end
        for answer in (incremental(features, end), interval(features, *whole), interval(features, end, end + DAY)):
            assert answer.status == 422
            (detail,) = answer.json()["detail"]
            assert detail["loc"][1] in {"start_ts", "end_ts"}
            assert "lies in the future" in detail["msg"]
        for path in ("/materialize?async=true", "/materialize-incremental?async=true"):
            body = {"end_ts": end.isoformat()} | ({"start_ts": now().isoformat()} if "incr" not in path else {})
            assert features.post(path, body).status == 422
        with pytest.raises(FeatureStoreError, match="lies in the future"):
            repo.materialize(settings, product, end)
    last = view_end(settings, product)
    assert last is not None
    assert last <= now()
    push_offline(features, 901, now() - HOUR, 44.0)
    assert run_job(settings, product, monkeypatch) == 0
    assert size(features, 901) == 44.0


def test_an_end_by_a_clock_that_is_a_little_ahead_means_now(
    features: Features, settings: Settings, product: Product
) -> None:
    for ahead in (timedelta(seconds=1), timedelta(minutes=4)):
        assert incremental(features, now() + ahead).status == 200
        assert interval(features, now() - DAY, now() + ahead).status == 200
        last = view_end(settings, product)
        assert last is not None
        assert last <= now()
        push_offline(features, 902, now(), ahead.total_seconds() / 10)
        assert incremental(features, now()).status == 200
        assert size(features, 902) == ahead.total_seconds() / 10


HARMS = ("feast materialize", "feast materialize-incremental", "by a clock that was ahead")


@pytest.mark.parametrize(
    ("settings", "harm"), [*(("sqlite", harm) for harm in HARMS), ("redis", HARMS[0])], indirect=["settings"]
)
def test_a_registry_that_claims_the_future_recovers(
    features: Features, settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    """As an older Beacon, Feast's command line or a simulation's clock leaves it."""
    store, name = repo.open_store(settings), definitions.view_name(product)
    if harm == "feast materialize":
        store.materialize(now() - DAY, now() + 400 * DAY, [name])
    elif harm == "feast materialize-incremental":
        store.materialize_incremental(now() + 400 * DAY, [name])
    else:
        monkeypatch.setattr(clock._shift, "seconds", (60 * DAY).total_seconds())
        repo.materialize(settings, product)
        monkeypatch.setattr(clock._shift, "seconds", 0.0)
    last = view_end(settings, product)
    assert last is not None
    assert last > now() + 50 * DAY
    push_offline(features, 903, now() - HOUR, 55.0)
    assert run_job(settings, product, monkeypatch) == 0
    assert size(features, 903) == 55.0
    push_offline(features, 903, now(), 56.0)
    assert incremental(features, now()).status == 200
    assert size(features, 903) == 56.0
    assert fill_from_file(settings, product).changed == 0  # as retraining does
    shown = f"beacon_feature_materialized_timestamp_seconds{{view={name}}}"
    features.service.until(lambda: last_minute(features.service.metrics()[shown]), "the metric shows the last run")


def last_minute(shown: float) -> bool:
    return -60 < now().timestamp() - shown < 60


# How a row may come late: its event time, and what it says of when it was created, before now.
LATE: dict[str, dict[str, Any]] = {
    "an hour ago": {"event": HOUR},
    "a month ago": {"event": 30 * DAY},
    "a month ago, and it says so": {"event": 30 * DAY, "created": 30 * DAY},
    "created years ago": {"event": HOUR, "created": 2000 * DAY},
    "created a moment before the last run": {"event": HOUR, "created": timedelta(seconds=30)},
}


@pytest.mark.parametrize("by", ["/materialize-incremental", "job"])
def test_late_rows_come_online_with_the_next_increment(
    features: Features, settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    def increment() -> None:
        if by == "job":
            assert run_job(settings, product, monkeypatch) == 0
        else:
            assert incremental(features, now()).status == 200

    push_offline(features, 930, now(), 34.0)
    increment()
    for entity, (form, late) in enumerate(LATE.items(), 920):
        more = {"created": (now() - late["created"]).isoformat()} if "created" in late else {}
        push_offline(features, entity, now() - late["event"], 33.0, **more)
        # A late row does not replace a newer one.
        push_offline(features, 930, now() - late["event"] - HOUR, 1.0, **more)
        assert size(features, entity) is None
        increment()
        assert (size(features, entity), size(features, 930)) == (33.0, 34.0), form


def test_an_interval_hides_no_row_from_the_next_increment(features: Features) -> None:
    """`/materialize` of the last minute is no promise about the hours before it."""
    push_offline(features, 906, now() - 5 * HOUR, 21.0)
    assert interval(features, now() - timedelta(minutes=1), now()).status == 200
    assert size(features, 906) is None
    assert incremental(features, now()).status == 200
    assert size(features, 906) == 21.0


def test_an_increment_to_a_time_in_the_past_hides_no_row_from_the_next(features: Features) -> None:
    push_offline(features, 907, now() - HOUR, 22.0)
    push_offline(features, 908, now() - 3 * HOUR, 23.0)
    assert incremental(features, now() - 2 * HOUR).status == 200
    assert (size(features, 907), size(features, 908)) == (None, 23.0)
    assert incremental(features, now()).status == 200
    assert size(features, 907) == 22.0


def test_an_increment_brings_what_is_new_and_not_everything(
    features: Features, settings: Settings, product: Product
) -> None:
    repo.materialize(settings, product)
    push_offline(features, 909, now() - HOUR, 24.0)
    assert repo.materialize(settings, product).rows == 1
    assert repo.materialize(settings, product).rows == 0
    assert repo.materialize(settings, product, everything=True).rows == len(offline(settings))


LOST = ("registry", "progress", "half a progress", "an older data file")


@pytest.mark.parametrize(("settings", "lost"), [("sqlite", lost) for lost in LOST], indirect=["settings"])
def test_what_is_lost_beside_the_data_costs_time_and_no_row(
    features: Features, settings: Settings, product: Product, lost: str
) -> None:
    older = data_path(settings).read_bytes()
    push_offline(features, 910, now() - 30 * DAY, 25.0, created=(now() - 30 * DAY).isoformat())
    repo.materialize(settings, product)
    (progress,) = (settings.home / "data").glob("*.progress.json")
    if lost == "registry":
        (settings.home / "feast" / "registry.db").unlink()
        repo.apply(settings, product)
    elif lost == "progress":
        progress.unlink()
    elif lost == "half a progress":
        progress.write_bytes(progress.read_bytes()[:9])
    else:
        data_path(settings).write_bytes(older)
    push_offline(features, 911, now() - HOUR, 26.0)
    done = repo.materialize(settings, product)
    assert done.rows >= 1
    assert (size(features, 910), size(features, 911)) == (25.0, 26.0)


def test_rows_that_feasts_own_sdk_pushes_late_come_online_too(
    features: Features, settings: Settings, product: Product
) -> None:
    assert incremental(features, now()).status == 200
    row = offline(settings).iloc[:1].assign(**{product.entity.key: 912, "size": 27.0})
    repo.open_store(settings).push(definitions.push_source_name(product), row, to=PushMode.OFFLINE)
    assert incremental(features, now()).status == 200
    assert size(features, 912) == 27.0


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_without_data_an_increment_says_so(features: Features, settings: Settings) -> None:
    file = data_path(settings)
    away = file.rename(file.with_name("away.parquet"))
    try:
        answer = incremental(features, now())
    finally:
        away.rename(file)
    assert answer.status == 503
    assert "no data to materialize" in json.loads(answer.json())["message"]
