"""An offline store of Feast's own, named in feature_store.yaml, joins as Beacon's does.

Feast's Dask store is in every environment; Spark is in tests/system/spark.
"""

from pathlib import Path

import pyarrow as pa
import pytest
from support.feature_products import mixed
from support.offline_stores import TABLES, joined, settings_of

from beacon_core.feature_store import repo
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.platform import clock

pytestmark = pytest.mark.xdist_group("features")
DASK = "dask"


@pytest.mark.parametrize("name", TABLES)
def test_a_store_of_feast_gives_the_same(tmp_path: Path, name: str) -> None:
    """But for rows that came again: of two with one event time, Feast's Dask store may take the older."""
    ours = joined(tmp_path / "ours", name, repo.OFFLINE_STORE, revised=False)
    theirs = joined(tmp_path / "theirs", name, DASK, revised=False)
    for own, other in zip(ours, theirs, strict=True):
        assert other.schema == own.schema
        assert other.to_pylist() == own.to_pylist()


def test_a_product_with_lags_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES, "lags", mixed)
    with pytest.raises(FeatureStoreError, match=r"type: dask computes no lags, .* some: last price, mean size"):
        joined(tmp_path, "lags", DASK)


def test_a_torn_file_is_told_in_one_line(tmp_path: Path) -> None:
    settings, table = settings_of(tmp_path, DASK), TABLES["composite"]()
    joined(tmp_path, "composite", DASK)
    (tmp_path / "data" / "features.parquet").write_bytes(b"torn")
    moments = table.rows[["store", "sku"]].head(2).assign(event_timestamp=clock.now())
    with pytest.raises(FeatureStoreError, match=r"^offline_store\.type: dask does not join: ") as refused:
        repo.known_at(settings, table.product, pa.Table.from_pandas(moments, preserve_index=False))
    assert "\n" not in str(refused.value)
