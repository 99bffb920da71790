"""A prediction log on a folder, and records to keep in it."""

import pytest
from prometheus_client import CollectorRegistry
from support.logged import logged_ids

from beacon_inference.prediction_log.database import Database
from beacon_inference.prediction_log.record import Record
from beacon_inference.prediction_log.shipper import PredictionLog


@pytest.fixture
def make(product):
    """Makes a record of the ids, which a client chose."""
    features = [1.5, None, *[2.0] * (len(product.feature_names) - 2)]

    def record(*ids, **changes):
        count = len(ids)
        fields = {
            "ids": list(ids), "time": 1_700_000_000.123456, "names": product.feature_names,
            "features": [features] * count,
            "prediction": [21.5] * count,
            "low": [18.5] * count, "high": [25.5] * count, "version": "1", "sha256": "a" * 64, "latency": 0.001,
            "request_id": "r", "trace_id": "0" * 32, "input_digests": ["b" * 64] * count,
        }  # fmt: skip
        return Record(**(fields | changes))

    return record


class Log:
    """A prediction log on a folder, as one process after another has it."""

    def __init__(self, folder, product, max_bytes=1 << 20):
        self.registry = CollectorRegistry()
        self.database_file = folder / "beacon.db"
        self.folder = folder / "spool"
        self.database = Database(f"sqlite:///{self.database_file}", product.feature_names)
        self.log = PredictionLog(self.folder, max_bytes, self.database, self.registry)

    def value(self, name):
        return self.registry.get_sample_value(f"beacon_prediction_log_{name}")

    def waiting(self):
        return self.value("spool_records")

    def stop(self):
        self.log.stop()
        self.database.close()

    def rows(self):
        """Ids in the database."""
        return logged_ids(self.database_file)


@pytest.fixture
def open_log(tmp_path, product):
    opened = []

    def open_(**options):
        opened.append(Log(tmp_path, product, **options))
        return opened[-1]

    yield open_
    for each in opened:
        if not each.log._stopping.is_set():
            each.stop()
