"""A prediction log on a folder, and records to keep in it."""

import pytest
from support.whole_log import WholeLog

from beacon_core.spool.record import Record


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


@pytest.fixture
def open_log(tmp_path, product):
    opened = []

    def open_(**options):
        opened.append(WholeLog(tmp_path, product.feature_names, **options))
        return opened[-1]

    yield open_
    for each in opened:
        if not each.stopped:
            each.stop()
