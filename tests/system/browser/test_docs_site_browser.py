"""The documentation site in a real Chromium: wide and narrow, light and dark, without a network."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

PAGES = ("index.html", "explanation/architecture.html", "reference/benchmarks.html", "reference/settings.html")
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_pages_fit_their_width_and_fetch_nothing_from_elsewhere(
    browser: Browser, address: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    wrong: list[str] = []
    page.on(
        "request", lambda request: None if request.url.startswith((address, "data:")) else wrong.append(request.url)
    )
    page.on("response", lambda response: None if response.ok or response.status == 304 else wrong.append(response.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    for name in PAGES:
        page.goto(f"{address}/{name}")
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    shades = [int(part) for part in page.evaluate(BACKGROUND).strip("rgba()").split(",")[:3]]
    assert (sum(shades) > 384) is (scheme == "light"), shades
    assert wrong == []
    context.close()


def test_the_search_finds_a_page_by_its_words(browser: Browser, address: str) -> None:
    page = browser.new_context().new_page()
    page.goto(address)
    page.get_by_role("button", name="Search").first.click()
    page.keyboard.type("rollback window")
    expect(page.get_by_role("link", name="Promotion").first).to_be_visible(timeout=20_000)


def test_the_colours_follow_the_button(browser: Browser, address: str) -> None:
    page = browser.new_context(color_scheme="light").new_page()
    page.goto(address)
    before = page.evaluate(BACKGROUND)
    for _ in range(2):
        page.locator("label[for^=__palette]:visible").first.click()
    page.wait_for_function(f"{BACKGROUND} !== '{before}'", timeout=5000)
