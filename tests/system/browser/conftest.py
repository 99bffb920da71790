"""A real Chromium for the tests of pages, and a console over a month of traffic."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright
from support.console_pages import TOKEN, WIDE
from support.history import add_promotion, high_drift, month
from support.products import SPEC
from support.server import CONSOLE, Server, serving

from beacon_core.data.database import migrate, open_store
from beacon_core.domain.product import Product
from tools.docs_site import build

ABORTED = "net::ERR_ABORTED"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "install Debian's package chromium"
    # Chromium's own sandbox does not work for root.
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[Server]:
    """The console over a month that ends in drift, with a verdict that waits for approval."""
    home = tmp_path_factory.mktemp("console")
    repo = home / "repo"
    shutil.copytree(SPEC.parent, repo)
    file = repo / "policy.yaml"
    file.write_text(file.read_text().replace("mode: auto", "mode: manual"))
    engine = open_store(f"sqlite:///{home / 'beacon.db'}")
    migrate(engine)
    month(engine, product, high=high_drift(product))
    add_promotion(engine, product, datetime.now(UTC))
    engine.dispose()
    with serving(
        home, CONSOLE, product=repo / "product.yaml", console_token=TOKEN, mlflow_url="http://127.0.0.1:9"
    ) as server:
        yield server


@pytest.fixture
def open_page(browser: Browser, console: Server) -> Iterator[Callable[..., Page]]:
    """Open a path of the console; afterwards nothing may have failed or been blocked in the browser."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def failed(request: Request) -> None:
        # An icon may still be on its way when a test leaves the page: the browser itself drops that request.
        if request.failure != ABORTED:
            complaints.append(request.url)

    def _open(path: str = "/", size: tuple[int, int] = WIDE, scheme: str = "light", script: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=script,
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", failed)
        answer = page.goto(console.address + path)
        assert answer is not None
        assert answer.status == 200
        return page

    yield _open
    for context in contexts:
        context.close()
    assert [text for text in complaints if "401" not in text] == []


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation site, built."""
    folder = tmp_path_factory.mktemp("site")
    assert build(folder / "stage", site=folder / "site") == 0
    return folder / "site"
