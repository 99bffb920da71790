"""Point-in-time joins by an offline store of Feast's own, Spark or DuckDB for example, which feature_store.yaml names.

Such a store reads the file of the offline rows; all that writes it, or brings its rows online, is as before. It takes a
DataFrame of keys and times, gives rows in any order, and knows nothing of lags.
"""

import contextlib
import io
import re
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore, FeatureView
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.offline_utils import get_offline_store_from_config

from beacon_core.domain.masking import message_of
from beacon_core.feature_store.columns import cast
from beacon_core.feature_store.errors import FeatureStoreError
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.feature_store.offline import file_of
from beacon_core.feature_store.stored_view import StoredView, stored_view

ROW = "row_number"
SPARK = "spark"
WORD = re.compile("[A-Za-z_][A-Za-z0-9_]*")
"""A name that SQL takes without quotes."""


def join_by_store(store: FeatureStore, view: FeatureView, moments: pa.Table, *, as_known: bool) -> pa.Table:
    """The moments with the features of the view, as `repo.features_at` gives them.

    Raises `FeatureStoreError` for a product that the store cannot join, or when the store fails.
    """
    kind, stored = str(store.config.offline_store.type), stored_view(view)
    _check(kind, stored)
    rows = pa.array(range(len(moments)), pa.int64())
    asked = moments.select([*stored.keys, EVENT_TIME]).append_column(ROW, rows)
    try:
        found = _found(store, _as_the_store_reads_it(store, view, stored, kind), asked, as_known=as_known)
    except Exception as error:  # of any library that a store may need
        raise FeatureStoreError(f"offline_store.type: {kind} does not join: {message_of(error)}") from error
    # Some stores leave out the moments at which nothing was known.
    places = pc.index_in(rows, found[ROW].combine_chunks().cast(rows.type))
    for name in stored.features:
        moments = moments.append_column(name, cast(found[name].take(places), stored.schema.field(name).type))
    return moments


def _check(kind: str, stored: StoredView) -> None:
    if stored.lags:
        lags = ", ".join(sorted(stored.lags))
        raise FeatureStoreError(f"offline_store.type: {kind} computes no lags, and the product has some: {lags}")
    strange = ", ".join(name for name in (*stored.keys, *stored.features) if not WORD.fullmatch(name))
    if kind == SPARK and strange:
        rule = "takes names of letters, digits and _ alone, as Feast does not quote them, and the product has others"
        raise FeatureStoreError(f"offline_store.type: {kind} {rule}: {strange}")


def _as_the_store_reads_it(store: FeatureStore, view: FeatureView, stored: StoredView, kind: str) -> FeatureView:
    if stored.undated:
        view.ttl = timedelta(0)  # no store but ours knows that rows without times do not age
    if kind == SPARK:  # Feast's class takes sources of its own alone
        view.batch_source = SparkSource(
            name=f"{view.name}_file",
            path=file_of(store.config, view).address,
            file_format="parquet",
            timestamp_field=stored.event_time,
            created_timestamp_column=stored.created,
        )
    return view


def _found(store: FeatureStore, view: FeatureView, asked: pa.Table, *, as_known: bool) -> pa.Table:
    offline = get_offline_store_from_config(store.config.offline_store)
    if as_known and not offline.supports_filter_by_created_timestamp:
        raise FeatureStoreError("it cannot leave out rows that had not arrived yet")
    more: dict[str, Any] = {"filter_by_created_timestamp": True} if as_known else {}
    with contextlib.redirect_stdout(io.StringIO()):  # Feast prints
        job = offline.get_historical_features(
            config=store.config,
            feature_views=[view],
            feature_refs=[f"{view.name}:{field.name}" for field in view.features],
            entity_df=asked.to_pandas(),
            registry=store.registry,
            project=store.project,
            **more,
        )
        return job.to_arrow()
