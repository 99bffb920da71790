"""Pages that come again by themselves: only where somebody asked, and never under somebody's typing."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.history import add_drift, add_job, add_predictions
from support.service import Service
from support.settings import Settings

from beacon_console.app import create
from beacon_core.data.database import migrate, open_store
from beacon_core.domain.product import Product


@pytest.fixture(scope="module")
def period(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[tuple[Service, str]]:
    home: Path = tmp_path_factory.mktemp("live")
    engine = open_store(f"sqlite:///{home / 'beacon.db'}")
    migrate(engine)
    now = datetime.now(UTC)
    add_predictions(engine, product, 20, now)
    add_job(engine, "drift", now)
    period = add_drift(engine, product, 2, now)
    engine.dispose()
    with Service(create(Settings(home=home))) as console:
        yield console, period


@pytest.mark.parametrize("path", ["/", "/drift", "/drift/PERIOD", "/jobs", "/jobs/1", "/predictions"])
def test_a_page_comes_again_where_somebody_asked(period: tuple[Service, str], path: str) -> None:
    console, name = period
    path = path.replace("PERIOD", name)
    quiet = console.get(f"{path}?window=7d&version=1")
    assert "refresh" not in quiet.headers
    link = re.search(r'<a href="([^"]+)">Keep this page fresh', quiet.body.decode())
    assert link is not None
    live = console.get(path + link[1].replace("&amp;", "&"))
    assert live.headers["refresh"] == "30"
    assert "<form" not in live.body.decode()
    stop = re.search(r'<a href="([^"]+)">Stop', live.body.decode())
    assert stop is not None
    assert stop[1].replace("&amp;", "&") == "?window=7d&version=1"


@pytest.mark.parametrize(
    "path",
    ["/?refresh=1", "/?refresh=", "/?refresh=30;url=//evil", "/?refresh=30&window=9d", "/promotions?refresh=30",
     "/predictions/p00000001?refresh=30", "/drift/never?refresh=30"],
)  # fmt: skip
def test_no_other_page_comes_again(period: tuple[Service, str], path: str) -> None:
    assert "refresh" not in period[0].get(path).headers


def test_what_stands_in_the_address_is_no_html(period: tuple[Service, str]) -> None:
    text = period[0].get("/predictions?refresh=30&x=%22%3E%3Cscript%3E&version=1").body.decode()
    assert "<script>" not in text
    assert 'href="?x=%22%3E%3Cscript%3E&amp;version=1">Stop' in text
