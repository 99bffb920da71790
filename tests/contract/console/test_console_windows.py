"""Pages show the windows that the policy names, whatever these are: `beacon new` proposes a year for a slow table."""

import html
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from sqlalchemy import Engine
from support.history import add_drift, add_predictions
from support.products import MIXED
from support.service import Service
from support.settings import Settings

from beacon_console.app import create
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product

CASES = {
    "one": ([365], [90], "365 days", "90 days"),
    "a day": ([1], [1], "1 day", "1 day"),
    "two": ([2, 14], [14, 60], "2 and 14 days", "14 days"),
    "the usual": ([1, 7, 30], [7, 30], "1, 7 and 30 days", "7 days"),
}
"""Windows of drift, those of errors, and how pages name them."""


def with_windows(folder: Path, drift: list[int], quality: list[int]) -> Product:
    (folder / "product.yaml").write_bytes(MIXED.read_bytes())
    limits = {"drift": {"windows_days": drift}, "quality": {"windows_days": quality}}
    (folder / "policy.yaml").write_text(yaml.safe_dump(limits))
    return load_product(folder / "product.yaml")


@pytest.mark.parametrize("case", CASES)
def test_every_page_shows_the_windows_of_the_policy(tmp_path: Path, engine: Engine, case: str) -> None:
    drift, quality, compared, judged = CASES[case]
    product = with_windows(tmp_path, drift, quality)
    now = datetime.now(UTC)
    add_predictions(engine, product, 20, now)
    period = add_drift(engine, product, 2, now)
    pages = ["/", "/drift", f"/drift/{period}", f"/features/{product.key_features[1]}", "/predictions/p00000001"]
    texts = {}
    with Service(create(Settings(home=tmp_path, product=product.file, mlflow_url="http://127.0.0.1:9"))) as console:
        for path in pages:
            answer = console.get(path)
            assert answer.status == 200, (path, answer.body.decode())
            texts[path] = html.unescape(answer.body.decode())
        refused = console.get("/?window=8d").body.decode()
    assert f"compares the traffic of {compared} with" in texts["/drift"]
    assert f"mean absolute error over {judged}" in texts["/"]
    assert "No realised error yet" not in texts["/"]
    main = drift[len(drift) // 2]
    for path in pages[:1] + pages[2:4]:
        assert f'<a href="?window={main}d' in texts[path]
        shown = texts[path].partition(f'<a href="?window={main}d')[2][:60]
        assert 'aria-current="true"' in shown, path
    assert "window, 4\N{NARROW NO-BREAK SPACE}000 rows" in texts[pages[3]]
    assert "after the first drift run" not in texts[pages[4]], "each feature beside its distribution"
    assert f"window must be {' or '.join(f'{days}d' for days in drift)}." in refused
