"""The data file changes: what stays keeps its dates, labels keep their features, and what is served is trained on."""

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine
from support.feature_homes import Features, feature_home, features_of, fill_from_file, items, offline
from support.labels import Log
from support.settings import Settings

from beacon_core.data.database import migrate, open_store
from beacon_core.domain.product import Product
from beacon_core.feature_store.names import CREATED_TIME, EVENT_TIME
from beacon_feature_serving.skew import measure_skew
from beacon_retraining.data.history import base_rows, load_dataset, training_rows
from beacon_retraining.data.labels import PREDICTION, read_labels
from beacon_retraining.data.row_counts import DatasetSummary, FileChanges, messages

pytestmark = [pytest.mark.xdist_group("data"), pytest.mark.timeout(600)]
Table = list[list[str]]  # header and rows


def change(row: int, column: int, value: str) -> Callable[[Table], None]:
    def apply(table: Table) -> None:
        table[row][column] = value

    return apply


def append(table: Table) -> None:
    table.append(["33.5", "4", "5", "7", "120"])


def remove(row: int) -> Callable[[Table], None]:
    def apply(table: Table) -> None:
        del table[row]

    return apply


def reverse(table: Table) -> None:
    table[1:] = reversed(table[1:])


def of_target(table: Table) -> None:
    table[5][-1] = "127"


def nothing(table: Table) -> None:
    pass


def many(table: Table) -> None:
    change(3, 0, "88.25")(table)
    change(9, 2, "NA")(table)
    remove(len(table) - 1)(table)


FORMS: dict[str, tuple[list[Callable[[Table], None]], list[FileChanges]]] = {
    "nothing": ([nothing], [FileChanges()]),
    "one cell": ([change(17, 0, "55.5")], [FileChanges(changed=1)]),
    "one cell becomes a gap": ([change(17, 0, "NA")], [FileChanges(changed=1)]),
    "a category": ([change(17, 2, "5")], [FileChanges(changed=1)]),
    "a target": ([of_target], [FileChanges()]),
    "a row more": ([append], [FileChanges(new=1)]),
    "the last row less": ([remove(-1)], [FileChanges(gone=1)]),
    "a row in the middle less": ([remove(20)], [FileChanges(changed=20, gone=1, moved=20)]),
    "the other way round": ([reverse], [FileChanges(changed=40, moved=40)]),
    "several at once": ([many], [FileChanges(changed=2, gone=1)]),
    "one cell twice": (
        [change(17, 0, "55.5"), change(17, 0, "56.5")],
        [FileChanges(changed=1), FileChanges(changed=1)],
    ),
    "one cell, then another row's": (
        [change(17, 0, "55.5"), change(18, 1, "8")],
        [FileChanges(changed=1), FileChanges(changed=1)],
    ),
    "one cell, and back": (
        [change(17, 0, "55.5"), change(17, 0, "15.92")],
        [FileChanges(changed=1), FileChanges(changed=1)],
    ),
    "the other way round, and back": ([reverse, reverse], [FileChanges(changed=40, moved=40)] * 2),
    "a row less, and back": ([remove(-1), append], [FileChanges(gone=1), FileChanges(changed=1)]),
}


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with feature_home(tmp_path, request.param) as settings:
        yield settings


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return items(tmp_path / "product")


def edit(product: Product, apply: Callable[[Table], None]) -> None:
    file = product.sample_path
    with file.open(encoding="utf-8", newline="") as stream:
        table = list(csv.reader(stream))
    apply(table)
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(table)


def file_rows(product: Product) -> list[dict[str, Any]]:
    """The file's features, row by row."""
    frame = pd.read_csv(product.sample_path, na_values=list(product.sources[0].format.missing or ()))[
        list(product.feature_names)
    ]
    return [{name: None if np.isnan(v) else v for name, v in row.items()} for row in frame.to_dict("records")]


def predict_all(log: Log, features: Features, run: int, entities: int) -> dict[str, dict[str, Any]]:
    """A labelled prediction of every entity, now, by what is served."""
    served = features.read(*range(1, entities + 1))
    made = {}
    for entity, row in enumerate(served, 1):
        name = f"run{run}-{entity}"
        log.predict(name, datetime.now(UTC), entity, row)
        log.tell(name, 100 + run)
        made[name] = row
    return made


ON_REDIS = ("one cell", "a row in the middle less", "one cell, and back", "the other way round, and back")
CASES = [*(("sqlite", form) for form in FORMS), *(("redis", form) for form in ON_REDIS)]


@pytest.mark.parametrize(("settings", "form"), CASES, indirect=["settings"])
def test_labels_keep_the_features_that_were_served(settings: Settings, product: Product, form: str) -> None:
    edits, wanted = FORMS[form]
    engine = open_store(settings.database)
    migrate(engine)
    log = Log(engine)
    begin = datetime.now(UTC)
    assert fill_from_file(settings, product) == FileChanges()
    with features_of(settings, product) as features:
        made = predict_all(log, features, 0, len(file_rows(product)))
        for run, apply in enumerate(edits, 1):
            before = offline(settings)
            edit(product, apply)
            assert fill_from_file(settings, product) == wanted[run - 1]
            added = len(file_rows(product)) if "round" in form else wanted[run - 1].changed + wanted[run - 1].new
            after = offline(settings)
            # Nothing that was known is taken away or dated anew, and only what changed is added.
            pd.testing.assert_frame_equal(after.iloc[: len(before)], before)
            assert len(after) == len(before) + added
            check_base(settings, product, features)
            made |= predict_all(log, features, run, len(file_rows(product)))
        check_labels(settings, product, engine, made)
        skew = measure_skew(settings, product, engine, begin, datetime.now(UTC))
    assert (skew.predictions, skew.unequal) == (len(made), 0)


def check_base(settings: Settings, product: Product, features: Features) -> None:
    """The file's rows are what is served, and what is trained on."""
    rows = file_rows(product)
    assert features.read(*range(1, len(rows) + 1)) == rows
    base = base_rows(settings, product)
    trained = base[list(product.feature_names)].to_dict("records")
    assert [{name: None if np.isnan(v) else v for name, v in row.items()} for row in trained] == rows
    assert base[EVENT_TIME].nunique() == 1
    targets = pd.read_csv(product.sample_path)[product.target.name]
    assert base[product.target.name].tolist() == targets.tolist()


def check_labels(settings: Settings, product: Product, engine: Engine, made: dict[str, dict[str, Any]]) -> None:
    """Each label joins what was served, and none is lost but to a later one of the same case."""
    names = list(product.feature_names)
    rows, left_out = training_rows(settings, product, read_labels(engine, product))
    assert (left_out.incomplete, left_out.broken) == (0, 0)
    production = rows[rows[PREDICTION] != ""].set_index(PREDICTION)
    assert len(production) + left_out.repeated == len(made)
    key = product.entity.key
    cases = {(name.partition("-")[2], tuple(row.values())) for name, row in made.items()}
    assert len(production) == len(cases)
    for name, row in production.iterrows():
        joined = {column: None if np.isnan(row[column]) else row[column] for column in names}
        assert joined == made[str(name)], (name, row[key])


def test_equal_data_are_equal_rows_however_they_came(settings: Settings, product: Product) -> None:
    """A change and a change back are no new data, so that they make no new version."""
    fill_from_file(settings, product)
    first = load_dataset(settings, product).fingerprint
    for value, equal in (("55.5", False), ("15.92", True), ("55.5", False), ("15.92", True)):
        edit(product, change(17, 0, value))
        fill_from_file(settings, product)
        assert (load_dataset(settings, product).fingerprint == first) is equal


def test_a_pushed_row_stays_newer_than_a_corrected_one(settings: Settings, product: Product) -> None:
    fill_from_file(settings, product)
    with features_of(settings, product) as features:
        assert features.push(features.row(17, datetime.now(UTC), size=77.0)).status == 200
        edit(product, change(17, 0, "55.5"))
        assert fill_from_file(settings, product) == FileChanges(changed=1)
        assert features.read(17)[0]["size"] == 77.0
        base = base_rows(settings, product)
    assert base.loc[base[product.entity.key] == 17, "size"].tolist() == [55.5]


def test_labels_without_features_are_counted_and_told(settings: Settings, product: Product) -> None:
    """Of entities that nobody knew, or did not know yet."""
    engine = open_store(settings.database)
    migrate(engine)
    log = Log(engine)
    for name, entity, given in (
        ("early", 3, {}),
        ("unknown", 900, {}),
        ("half", 901, {"size": 5.0}),
        ("none", None, {}),
    ):
        log.predict(name, datetime.now(UTC), entity, **given)
        log.tell(name, 110)
    fill_from_file(settings, product)
    log.predict("good", datetime.now(UTC), 3)
    log.tell("good", 111)
    rows, left_out = training_rows(settings, product, read_labels(engine, product))
    assert rows.loc[rows[PREDICTION] != "", PREDICTION].tolist() == ["good"]
    assert (left_out.incomplete, left_out.base_repeated) == (4, 1)
    lines = messages(DatasetSummary("f", len(rows), 1, "now", left_out), product.min_features)
    assert "labelled predictions not trained on, as fewer than 2 features are known: 4" in lines


def test_what_changed_is_told_and_what_a_sort_means() -> None:
    assert messages(DatasetSummary("f", 40, 0, "now"), 2) == []
    lines = messages(DatasetSummary("f", 40, 0, "now", file=FileChanges(changed=40, moved=38, gone=1, new=2)), 2)
    assert [line.rpartition(": ")[2] for line in lines] == ["2", "40", "38", "1"]
    assert "was the file sorted, or a row removed?" in lines[2]


def test_a_home_that_an_older_beacon_left_goes_on(settings: Settings, product: Product) -> None:
    """It dated all rows anew with each change; what it lost is lost, and no more is."""
    fill_from_file(settings, product)
    stored = offline(settings)
    stored[CREATED_TIME] = pd.Timestamp(datetime.now(UTC)).as_unit("us")
    stored.to_parquet(settings.home / "data" / "features.parquet", index=False)
    edit(product, change(17, 0, "55.5"))
    assert fill_from_file(settings, product) == FileChanges(changed=1)
    with features_of(settings, product) as features:
        check_base(settings, product, features)
