"""Every reader of the log gives the same answers, whether the predictions are rows of the database or in the lake."""

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text
from support.lakes import NOON, in_folder, move_to_lake, row
from support.stores import new_store

from beacon_core.data import prediction_log, predictions
from beacon_core.data.evidence import EVERYTHING
from beacon_core.data.prediction_log import LogSlice, log_pages, partitions, traffic, which_actual
from beacon_core.data.prediction_log.labels import labelled_predictions
from beacon_core.data.prediction_log.log_pages import LogFilter, LogPosition
from beacon_core.data.prediction_log.log_rows import rows_after
from beacon_core.data.prediction_log.promotion_evidence import (
    newest_features,
    newest_labelled,
    realised_error,
    shadow_answers,
)
from beacon_core.data.predictions import PredictionRow
from beacon_core.data.tables import actuals
from beacon_core.data.watermarks import Watermark
from beacon_core.domain.policy import Evidence

pytestmark = pytest.mark.lake
ROWS, HOURS = 240, 5
NEVER = NOON + timedelta(days=900)
EVIDENCES = (EVERYTHING, Evidence("keyed"), Evidence(("shop",)))


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with new_store(request.param, tmp_path) as store:
        yield store


def made(seed: int) -> tuple[list[PredictionRow], list[dict[str, Any]]]:
    """Predictions of two versions, some of them of entities, and actuals of both kinds, some corrected."""
    chance = random.Random(seed)
    rows = []
    for number in range(ROWS):
        minutes = chance.uniform(0, 60 * HOURS)
        shadow = {"shadow_version": "3", "shadow_prediction": chance.gauss(1000, 2)} if chance.random() < 0.3 else {}
        rows.append(
            row(
                f"p{number:03d}", minutes, chance.choice([None, *map(str, range(8))]),
                prediction=chance.gauss(1000, 3), model_version="2" if minutes > 60 * 3 else "1",
                client=chance.choice([None, "shop", "depot"]), from_store=chance.choice([None, '["doors"]']),
                out_of_range=chance.choice(["[]", '["doors"]']),
                features=f'{{"doors": {chance.randrange(5)}, "colour": "rot"}}', **shadow,
            )
        )  # fmt: skip
    told = []
    for _ in range(150):
        observed = NOON + timedelta(minutes=chance.uniform(-30, 60 * (HOURS + 2)))
        by_id = chance.random() < 0.5
        told.append(
            {
                "prediction_id": f"p{chance.randrange(ROWS):03d}" if by_id else None,
                "entity": None if by_id else str(chance.randrange(10)),
                "value": chance.gauss(1000, 5), "observed_at": observed,
                "received_at": observed + timedelta(minutes=chance.uniform(0, 600)), "source": "test",
            }
        )  # fmt: skip
    return rows, told


def answers(engine: Engine) -> dict[str, Any]:
    """What every reader says."""
    found: dict[str, Any] = {}
    later = NOON + timedelta(hours=4)
    with engine.connect() as connection:
        for evidence in EVIDENCES:
            key = str(evidence.clients)
            found[f"labels {key}"] = sorted(
                (each for batch in labelled_predictions(connection, evidence) for each in batch), key=lambda one: one.id
            )
            for since in (Watermark(), Watermark(NEVER, later), Watermark(NOON, NOON)):
                changed = partitions.changed_partitions(connection, since, evidence)
                found[f"changed {key} {since}"] = sorted(changed.partitions), changed.received_at, changed.undated
            every = partitions.changed_partitions(connection, Watermark(), evidence).partitions
            for partition in sorted(every):
                found[f"rows {key} {partition}"] = partitions.logged_rows(connection, partition)
        found["digest"] = partitions.newest_digest(connection, "2"), partitions.newest_digest(connection, "9")
        names = [f"p{number:03d}" for number in range(ROWS)]
        found["whole"] = prediction_log.find(connection, names)
        found["actuals"] = [which_actual.find(connection, one.id, one.entity, one.time) for one in found["whole"]]
        found["of an entity"] = list(prediction_log.of_entity(connection, "3"))
        found["count"] = prediction_log.count(connection, LogSlice(model_version="1"))
        found["hours"] = traffic.by_hour(connection, later, 6)
        found["versions"] = traffic.versions(connection)
        found["current"] = traffic.current_version(connection, found["versions"])
        found["counts"] = traffic.count(connection), traffic.count(connection, "1"), traffic.count(connection, "9")
        found["latencies"] = traffic.newest_latencies(connection, later, 5)
        found["oldest"] = log_pages.oldest_time(connection)
        found["values"] = log_pages.newest_values(connection, "doors", 30)
        found["pairs"] = log_pages.shadow_pairs(connection, "2", "3", ["doors", "age"], 20)
        found["table"] = rows_after(connection, NOON, later, LogPosition(NOON + timedelta(hours=1), "p"), 70)
        for wanted in FILTERS:
            found[f"page {wanted}"] = pages(connection, wanted)
    for evidence in EVIDENCES:
        key = str(evidence.clients)
        found[f"newest labelled {key}"] = newest_labelled(engine, evidence, NOON + timedelta(hours=1), 20)
        found[f"newest features {key}"] = newest_features(engine, evidence, 20)
        found[f"error {key}"] = rounded(realised_error(engine, evidence, "2", NOON, later))
        found[f"shadow {key}"] = rounded(shadow_answers(engine, evidence, "3", NOON))
    found["no shadow"] = shadow_answers(engine, EVERYTHING, "7", NOON)
    return found


FILTERS = (
    LogFilter(), LogFilter(version="1"), LogFilter(entity="3"), LogFilter(entity="3", version="2"),
    LogFilter(since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=2), is_out_of_range=True),
    LogFilter(has_actual=True), LogFilter(has_actual=False, is_out_of_range=False), LogFilter(error_above=3.0),
)  # fmt: skip


def pages(connection: Any, wanted: LogFilter) -> list[Any]:
    lines: list[Any] = []
    after = None
    while True:
        page = log_pages.page_of(connection, wanted, after, 17)
        lines += page.lines
        after = page.following
        if after is None:
            return lines


def rounded(figures: Any) -> Any:
    return [round(one, 6) if isinstance(one, float) else one for one in figures]


@pytest.mark.parametrize("seed", [1, 2])
def test_every_reader_gives_the_same_answers_from_the_lake(engine: Engine, tmp_path: Path, seed: int) -> None:
    rows, told = made(seed)
    with engine.begin() as connection:
        predictions.insert(connection, rows)
        connection.execute(insert(actuals), told)
    expected = answers(engine)
    with move_to_lake(engine, rows, in_folder(tmp_path)):
        found = answers(engine)
    assert list(found) == list(expected)
    for name in expected:
        assert found[name] == expected[name], name
    assert len(expected["labels all"]) > 60, "the scenario has labels of both kinds"


def test_a_question_leaves_nothing_behind(engine: Engine, tmp_path: Path) -> None:
    rows, told = made(3)
    with engine.begin() as connection:
        connection.execute(insert(actuals), told)
    with move_to_lake(engine, rows, in_folder(tmp_path)), engine.begin() as connection:
        assert sum(map(len, labelled_predictions(connection, EVERYTHING))) > 0
        assert sum(map(len, labelled_predictions(connection, EVERYTHING))) > 0, "a question leaves nothing behind"
        assert connection.scalar(select(text("count(*)")).select_from(text("predictions"))) == 0


def test_an_empty_lake_has_no_labels(engine: Engine, tmp_path: Path) -> None:
    with move_to_lake(engine, [], in_folder(tmp_path)), engine.connect() as connection:
        assert list(labelled_predictions(connection, EVERYTHING)) == []
        assert traffic.versions(connection) == []
        assert traffic.current_version(connection, []) is None
        assert log_pages.page_of(connection, LogFilter(), None, 10).lines == []
        nothing = partitions.changed_partitions(connection, Watermark(), EVERYTHING)
        assert nothing.partitions == frozenset()
    assert realised_error(engine, EVERYTHING, "1", NOON).rows == 0
