"""Take docs/images/console-*.png of a simulated month of traffic: `make screenshots` (needs Chromium)."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright
from support.history import add_promotion, high_drift, month
from support.server import CONSOLE, serving

from beacon_core.data.database import migrate, open_store
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE = ViewportSize(width=1120, height=800)
# More rows than this make the same pictures, later.
ROWS = 3000
PAGES = {
    "predictions": "/predictions?actual=yes",
    "prediction": f"/predictions/p{ROWS - 150:08d}",
    "promotions": "/promotions",
}


@contextlib.contextmanager
def console(home: Path) -> Iterator[str]:
    """The address of a console over the month, with its state in `home`."""
    product = load_product(load_settings().product)
    engine = open_store(f"sqlite:///{home / 'beacon.db'}")
    migrate(engine)
    month(engine, product, ROWS, high_drift(product))
    add_promotion(engine, product, datetime.now(UTC))
    engine.dispose()
    with serving(home, CONSOLE, product=product.file, console_token="a token") as server:  # noqa: S106 (it guards nothing)
        yield server.address


def draw(browser: Browser, address: str, folder: Path) -> list[Path]:
    """The front page, the newest drift run, a feature, the list of predictions, one of them, and the ledger."""
    page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
    page.goto(address)
    overview = folder / "console-overview.png"
    page.screenshot(path=overview)
    page.goto(f"{address}/drift")
    page.goto(f"{address}{page.locator('tbody a').first.get_attribute('href')}")
    drift = folder / "console-drift.png"
    page.screenshot(path=drift)
    drawn = [overview, drift]
    feature = page.locator('a[href*="/features/"]').first.get_attribute("href")
    for name, path in {"feature": feature, **PAGES}.items():
        page.goto(f"{address}{path}")
        drawn.append(folder / f"console-{name}.png")
        page.screenshot(path=drawn[-1])
    return drawn


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium of this machine; without one the program ends with a line that says so."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("chromium is missing (Debian package chromium)")
    # Chromium's own sandbox does not work for root.
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments, timeout=120_000)
        yield browser
        browser.close()


def main() -> None:
    """Start the console and take the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="beacon-screenshots-") as name,
        console(Path(name)) as address,
        chromium() as browser,
    ):
        for picture in draw(browser, address, IMAGES):
            print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
