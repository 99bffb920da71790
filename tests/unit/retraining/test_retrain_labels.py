"""Labels: which actual belongs to which prediction, for all at once, as inference answers for one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, insert
from support.feature_products import dated

from beacon_core.data.database import migrate, open_store
from beacon_core.data.prediction_log.which_actual import actual_of
from beacon_core.data.tables import actuals, predictions
from beacon_core.domain.product import Product
from beacon_retraining.data.labels import OBSERVED, PREDICTION, label_columns, read_labels
from beacon_retraining.data.validate import valid_rows

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    return engine


def predict(engine: Engine, id_: str, hours: float, entity: str | None = None, **features: float | str) -> None:
    row = {
        "id": id_,
        "time": at(hours),
        "entity": entity,
        "features": features,
        "imputed": [],
        "out_of_range": [],
        "prediction": 20.0,
        "low": 15.0,
        "high": 25.0,
        "model_version": "1",
        "model_sha256": "0",
        "latency_seconds": 0.001,
        "request_id": id_,
    }
    with engine.begin() as connection:
        connection.execute(insert(predictions).values(row))


def tell(engine: Engine, value: float, hours: float, *, id_: str | None = None, entity: str | None = None) -> None:
    row = {"prediction_id": id_, "entity": entity, "value": value, "observed_at": at(hours), "received_at": at(99)}
    with engine.begin() as connection:
        connection.execute(insert(actuals).values(row | {"source": "test"}))


def labelled(engine: Engine, product: Product) -> dict[str, float]:
    labels = read_labels(engine, product)
    assert list(labels) == label_columns(product)
    return dict(zip(labels[PREDICTION], labels[product.target.name], strict=True))


def test_an_empty_store_has_no_labels(engine: Engine, product: Product) -> None:
    predict(engine, "a", 0, RM=6.0)
    labels = read_labels(engine, product)
    assert len(labels) == 0
    assert str(labels[OBSERVED].dtype) == "datetime64[us, UTC]"


def test_the_newest_actual_of_an_id_counts_and_wins_over_the_entitys(engine: Engine, product: Product) -> None:
    predict(engine, "a", 0, entity="1", RM=6.0)
    tell(engine, 30, 1, entity="1")
    tell(engine, 21, 2, id_="a")
    tell(engine, 22, 1, id_="a")
    assert labelled(engine, product) == {"a": 22}


def test_an_entitys_actual_belongs_to_its_last_prediction_before_it(engine: Engine, product: Product) -> None:
    predict(engine, "a", 0, entity="1")
    predict(engine, "b", 5, entity="1")
    predict(engine, "c", 5, entity="2")
    tell(engine, 9, -1, entity="1")
    tell(engine, 10, 1, entity="1")
    tell(engine, 11, 2, entity="1")
    tell(engine, 12, 6, entity="1")
    tell(engine, 13, 6, entity="1")
    assert labelled(engine, product) == {"a": 10, "b": 13}


def test_two_predictions_of_one_moment_share_their_entitys_label(engine: Engine, product: Product) -> None:
    predict(engine, "a", 0, entity="1")
    predict(engine, "b", 0, entity="1")
    tell(engine, 10, 1, entity="1")
    assert labelled(engine, product) == {"a": 10, "b": 10}


def test_labels_carry_what_the_request_gave(engine: Engine, product: Product) -> None:
    predict(engine, "a", 3, entity="7", RM=6.5)
    predict(engine, "b", 2, LSTAT=4.0)
    tell(engine, 20, 4, id_="a")
    tell(engine, 30, 4, id_="b")
    labels = read_labels(engine, product)
    assert labels[PREDICTION].tolist() == ["b", "a"]
    assert labels["tract_id"].tolist()[1:] == [7]
    assert labels["tract_id"].isna().tolist() == [True, False]
    assert labels["RM"].isna().tolist() == [True, False]
    assert labels["LSTAT"].tolist()[0] == 4.0
    assert labels["event_timestamp"].tolist() == [pd.Timestamp(at(2)), pd.Timestamp(at(3))]


def test_the_join_agrees_with_the_rule_for_one(engine: Engine, product: Product) -> None:
    for number in range(40):
        predict(engine, f"p{number}", number * 7 % 20, entity=str(number % 4) if number % 5 else None)
    for number in range(60):
        by_id = number % 3 == 0
        tell(
            engine,
            10 + number % 13,
            number * 5 % 23,
            id_=f"p{number % 40}" if by_id else None,
            entity=None if by_id else str(number % 5),
        )
    wanted = {}
    with engine.connect() as connection:
        for row in connection.execute(predictions.select()).mappings():
            found = actual_of(connection, row["id"], row["entity"], row["time"])
            if found is not None:
                wanted[row["id"]] = found["value"]
    assert len(wanted) > 20
    assert labelled(engine, product) == wanted


def test_a_label_that_breaks_a_rule_of_the_product_is_unsound(engine: Engine, product: Product) -> None:
    for id_, features in {"good": {"RM": 6.0}, "range": {"RM": 99.0}, "category": {"CHAS": 2.0}, "target": {}}.items():
        predict(engine, id_, 0, **features)
        tell(engine, 500 if id_ == "target" else 20, 1, id_=id_)
    labels = read_labels(engine, product)
    assert labels.loc[valid_rows(labels, product), PREDICTION].tolist() == ["good"]


def test_an_actual_of_any_year_ends_no_retraining(engine: Engine, product: Product) -> None:
    """Inference refuses one that was observed before 1970; it did not always, and pandas' nanoseconds end in 1677."""
    years = {"a": 1, "b": 1601, "c": 1969}
    for id_, year in years.items():
        predict(engine, id_, 0, entity="1", RM=6.0)
        hours = (datetime(year, 1, 2, tzinfo=UTC) - START).total_seconds() / 3600
        tell(engine, 20, hours, id_=id_)
        tell(engine, 30, hours, entity="1")
    labels = read_labels(engine, product)
    assert labels[PREDICTION].tolist() == ["a", "b", "c"]
    assert labels[product.target.name].tolist() == [20, 20, 20]
    assert labels[OBSERVED].dt.year.tolist() == [1, 1601, 1969]


def test_entities_keep_every_digit_beside_labels_without_one(engine: Engine, product: Product) -> None:
    """Text that becomes numbers by way of floats, as beside a missing one, loses the last digits above 2**53."""
    ids = [2**53 + 1, 2**63 - 1, -(2**63)]
    for name, entity in [("none", None), *((str(number), str(number)) for number in ids)]:
        predict(engine, name, 0, entity=entity, RM=6.0)
        tell(engine, 20.0, 1, id_=name)
    labels = read_labels(engine, product).set_index(PREDICTION)[product.keys[0]]
    assert {number: labels[str(number)] for number in ids} == {number: number for number in ids}
    assert pd.isna(labels["none"])


def test_a_key_that_is_a_feature_has_the_requests_value_or_else_the_entitys(engine: Engine) -> None:
    predict(engine, "a", 0, day="2026-01-05", size=1.0)
    predict(engine, "b", 1, entity="2026-01-06", size=2.0)
    for id_ in ("a", "b"):
        tell(engine, 1.0, 2, id_=id_)
    labels = read_labels(engine, dated().product)
    assert labels["day"].tolist() == [pd.Timestamp("2026-01-05"), pd.Timestamp("2026-01-06")]
