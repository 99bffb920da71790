"""The console's pages as browsers are sent through them: one of each kind."""

from playwright.sync_api import Page
from support.server import Server

WIDE, PHONE, NARROW = (1280, 900), (390, 844), (360, 740)
TOKEN = "a token"


def pages(console: Server, page: Page) -> list[str]:
    """One of each kind of page."""
    page.goto(f"{console.address}/drift")
    run = page.locator("tbody a").first.get_attribute("href")
    assert run is not None
    return [
        "/",
        "/drift",
        run,
        "/features/RM",
        "/features/CHAS",
        "/features/CRIM?window=1d",
        "/models",
        "/models/2",
        "/models/3",
        "/compare",
        "/compare?first=2&second=3",
        "/what-if?from=p00002850",
        "/promotions",
        "/promotions?at=2020-01-01",
        "/promotions/tried",
        "/jobs",
        "/jobs/1",
        "/predictions?out_of_range=yes",
        "/predictions/p00002850",
    ]
