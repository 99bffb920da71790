"""Batch scoring of the log's lake: another model answers what users sent, each row with the id of its prediction."""

import sys
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from support.lakes import NOON, in_folder, opened, own_rows
from support.packages import build_package, release_package, row_of
from support.products import MIXED
from support.settings import Settings

from beacon_core.data.prediction_log import lake
from beacon_core.domain.data_errors import DataError
from beacon_core.platform.product_file import load_product
from beacon_inference.commands import score as command

pytestmark = pytest.mark.lake


def test_the_lake_is_scored_by_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    product = load_product(MIXED)
    release_package(tmp_path / "home", product)
    place = in_folder(tmp_path)
    settings = Settings(home=tmp_path / "home", product=product.file, lake=place.files, lake_catalog_url=place.catalog)
    build_package(settings.models_dir, product, version="7", bias=40.0)
    features = dict(zip(product.feature_names, row_of(product), strict=True))
    gap = {name: value for name, value in features.items() if name != "warranty"}
    made = [
        row._replace(features=msgspec.json.encode([features, gap][at % 2]).decode())
        for at, row in enumerate(own_rows(30))
    ]
    with opened(*place) as found:
        lake.append_rows(found, made)

    def scored(*options: str) -> list[dict[str, object]]:
        out = tmp_path / "out.parquet"
        monkeypatch.setattr(sys, "argv", ["score", "lake:", "--out", str(out), "--force", *options])
        assert command.main(settings) == 0
        return pq.read_table(out).to_pylist()

    until = ("--until", "2026-03-01T12:00:20Z")
    one, other = scored(*until), scored(*until, "--version", "7")
    assert [row["prediction_id"] for row in one] == [row.id for row in made[:20]]
    assert [row["imputed"] for row in one] == [None, "warranty"] * 10
    assert other[0]["prediction"] == pytest.approx(one[0]["prediction"] + 20, abs=0.01)
    since = ("--since", NOON.isoformat(), "--until", "2026-03-01T12:00:05Z")
    assert len(scored(*since)) == 5
    with pytest.raises(DataError, match=r"^lake: --until: no prediction was made before 2026-02-01T00:00:00\+00:00$"):
        scored("--until", "2026-02-01T00:00:00Z")
