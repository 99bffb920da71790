"""The point-in-time join by an offline store that feature_store.yaml names, for a table of a product without lags.

python -m support.offline_stores HOME TABLE STORE OUT: in the environment that has the store.
"""

import re
import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from support.feature_products import FIRST, TableProduct, composite, dated, mixed
from support.settings import Settings

from beacon_core.feature_store import repo
from beacon_core.feature_store.columns import TIME, to_table
from beacon_core.feature_store.definitions import view_name
from beacon_core.feature_store.names import EVENT_TIME
from beacon_core.feature_store.repo import OFFLINE_STORE
from beacon_core.feature_store.stored_view import stored_view
from beacon_core.platform import clock
from beacon_core.platform.settings import ROOT
from beacon_retraining.data.offline import write_offline

ARRIVED, DAYS = 45, 63
"""On which day after the first row all had arrived, and up to which day moments are asked about."""


def without_lags() -> TableProduct:
    """A feature of each type, but none of the past."""
    found = mixed()
    features = tuple(feature for feature in found.product.features if feature.lag is None)
    return found._replace(product=msgspec.structs.replace(found.product, features=features))


def plain() -> TableProduct:
    """The same with names that are words of SQL."""
    found = without_lags()
    names = {feature.name: "f_" + re.sub(r"[^A-Za-z0-9]", "_", feature.name) for feature in found.product.features}
    features = tuple(msgspec.structs.replace(each, name=names[each.name]) for each in found.product.features)
    return TableProduct(msgspec.structs.replace(found.product, features=features), found.rows.rename(columns=names))


TABLES = {"mixed": without_lags, "plain": plain, "composite": composite, "dated": dated}


def settings_of(home: Path, store: str) -> Settings:
    """Settings whose feature_store.yaml is the repository's, but for the offline store."""
    folder = home / f"repo-{store}"
    folder.mkdir(parents=True, exist_ok=True)
    text = (ROOT / "feature_repo" / "feature_store.yaml").read_text()
    assert OFFLINE_STORE in text
    (folder / "feature_store.yaml").write_text(text.replace(OFFLINE_STORE, store))
    return Settings(home=home, feature_repo=folder)


def joined(home: Path, name: str, store: str, *, revised: bool = True) -> list[pa.Table]:
    """What was known of each entity, and of one that nobody knows, at many moments; then whenever it arrived.

    `revised`: every row has come again by now, with another value.
    """
    table, settings = TABLES[name](), settings_of(home, store)
    product = table.product
    write_offline(settings, product, table.rows, FIRST + timedelta(days=ARRIVED))
    if revised:
        number = next(feature.name for feature in product.features if feature.type == "float")
        write_offline(settings, product, table.rows.assign(**{number: table.rows[number] + 0.5}), clock.now())
    repo.apply(settings, product)
    view = stored_view(repo.open_store(settings).get_feature_view(view_name(product)))
    keys = to_table(table.rows, pa.schema([view.schema.field(key) for key in view.keys]))
    unknown = keys.slice(0, 1).set_column(len(keys.column_names) - 1, keys.column_names[-1], pa.array(["nobody"]))
    asked = pa.concat_tables([unknown, keys], promote_options="permissive").group_by(view.keys).aggregate([])
    parts = [
        asked.append_column(EVENT_TIME, pa.array([FIRST + timedelta(days=day, hours=1)] * len(asked), TIME))
        for day in (-1, *range(0, DAYS, 7), 10_000)
    ]
    moments = pa.concat_tables(parts)
    moments = moments.append_column("row", pa.array(range(len(moments))))
    return [repo.features_at(settings, product, moments, as_known=as_known) for as_known in (True, False)]


def main() -> None:
    """Write what the store gives."""
    home, name, store, out = sys.argv[1:]
    for number, found in enumerate(joined(Path(home), name, store)):
        pq.write_table(found, f"{out}.{number}")


if __name__ == "__main__":
    main()
