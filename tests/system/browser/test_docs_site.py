"""The documentation site: whole, strict, and without anything from the network."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from support.ports import free_port
from support.waiting import until

from beacon_core.platform.settings import ROOT

FETCHED = re.compile(r'<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="(https?:)?//', re.IGNORECASE)


def test_each_page_of_docs_is_on_the_site_and_nothing_is_fetched(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs")
        name = "index" if path.stem == "README" else path.stem
        assert (site / path.with_name(f"{name}.html")).is_file(), path
    made = list(site.rglob("*.html"))
    assert len(made) > 200
    assert [str(file) for file in made if FETCHED.search(file.read_text(encoding="utf-8"))] == []


def test_a_link_to_a_file_outside_docs_leads_to_its_page(site: Path) -> None:
    text = (site / "explanation" / "one-request.html").read_text(encoding="utf-8")
    address = "../source/services/core/beacon_core/web/asgi.py.html"
    assert f'href="{address}"' in text
    assert "middlewares" in (site / "explanation" / address).read_text(encoding="utf-8")


def test_a_notebook_is_a_page_of_its_cells(site: Path) -> None:
    text = (site / "notebooks" / "predict.ipynb.html").read_text(encoding="utf-8")
    assert "Predict a data frame</h1>" in text.replace("<a class", "</h1><a class")
    assert 'href="../notebooks/predict.ipynb.html"' in (site / "how-to" / "notebook.html").read_text(encoding="utf-8")


def test_the_site_is_served() -> None:
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "tools.docs_site", "serve", "--address", address]

    def page() -> str:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://{address}/reference/glossary.html") as answer,
        ):
            return str(answer.read().decode())
        return ""

    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL) as served:
        try:
            assert "Glossary" in until(page, "it is served", 120)
        finally:
            os.killpg(served.pid, signal.SIGTERM)
