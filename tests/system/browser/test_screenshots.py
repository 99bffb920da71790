"""`make screenshots` takes the pictures that the README and the how-to page show."""

import re
import struct
from pathlib import Path

from playwright.sync_api import Browser

from beacon_core.platform.settings import ROOT
from tools.screenshots import SIZE, console, draw


def test_the_pictures_are_those_of_the_pages(browser: Browser, tmp_path: Path) -> None:
    with console(tmp_path) as address:
        drawn = draw(browser, address, tmp_path)
    pages = ("README.md", "docs/how-to/console.md", "docs/explanation/promotion.md")
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in pages]
    shown = [name for text in texts for name in re.findall(r"images/(console-[\w-]+\.png)", text)]
    assert sorted(picture.name for picture in drawn) == sorted(shown)
    for picture in drawn:
        head = picture.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", head[16:]) == (SIZE["width"], SIZE["height"])
    assert len({picture.read_bytes() for picture in drawn}) == len(drawn)
