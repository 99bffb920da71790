"""BEACON_ENGINE=spark gives the same drift results, training set, counts and scores as local, row for row.

Each is the job as it is deployed, a process of its own; Spark is on two cores of this machine.
"""

import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.products import MIXED
from support.spark_site import AT, HOURS, PRODUCTS, Site, both, check_same_answers, check_same_drift, filled

from beacon_core.platform.product_file import load_product

pytestmark = pytest.mark.spark
ROWS_OF_EACH = 20_000
"""Of a table: several blocks."""


@pytest.fixture(scope="module", params=PRODUCTS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return filled(tmp_path_factory.mktemp("spark"), PRODUCTS[request.param])


def test_drift_is_the_same(site: Site) -> None:
    both(site, "drift", "--at", AT, "--segments")
    check_same_drift(site)


def test_the_training_set_and_all_counts_are_the_same(site: Site) -> None:
    both(site, "readers", str(site.home / "ENGINE.pickle"))
    check_same_answers(site)


def test_scores_are_the_same(site: Site) -> None:
    product = load_product(site.product)
    table = site.home / "table.csv"
    example = {feature.name: feature.example for feature in product.features if feature.lag is None}
    some = [{name: None if name == gap else value for name, value in example.items()} for gap in example]
    pd.DataFrame(some * ROWS_OF_EACH).to_csv(table, index=False)
    is_lake = site.product == MIXED
    given = ["lake:", "--until", AT, "--bad-rows", "mark"] if is_lake else [str(table)]
    both(site, "score", *given, "--out", str(site.home / "ENGINE.parquet"))
    local, spark = (pq.read_table(site.home / f"{engine}.parquet") for engine in ("local", "spark"))
    assert len(local) == (2 * 150 * HOURS if is_lake else ROWS_OF_EACH * len(some))
    assert local["imputed"].null_count < len(local)
    assert spark.equals(local)
