"""A real Chromium, as the tests of pages have it, and the charts' library, as those of charts have it."""

from system.browser.conftest import browser
from system.charts.conftest import library

__all__ = ("browser", "library")
