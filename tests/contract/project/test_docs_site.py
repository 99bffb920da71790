"""How the documentation site is built, on two pages; tests/system/browser has the whole of it."""

import re
from pathlib import Path, PurePosixPath

import pytest
from support.checkout import tracked

from beacon_core.platform.settings import ROOT
from tools.docs_site import build, linked, navigation, page_of, pages, toml


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkout of two pages, one of which names a file outside docs."""
    (tmp_path / "docs" / "tutorials").mkdir(parents=True)
    (tmp_path / "zensical.toml").write_text((ROOT / "zensical.toml").read_text())
    (tmp_path / "docs" / "README.md").write_text("# All\n\n## Tutorials: x\n\n- [one](tutorials/one.md): a page.\n")
    (tmp_path / "docs" / "tutorials" / "one.md").write_text("# One\n\n[code](../../code.py) `[no](link.md)`\n")
    (tmp_path / "code.py").write_text('print("```")\n')
    return tmp_path


def test_the_navigation_names_each_page_of_the_four_parts_once() -> None:
    named = re.findall(r'"([\w/.-]+\.md)"', toml(navigation(pages())))
    assert sorted(set(named)) == sorted(named)
    of_docs = {str(file.relative_to(ROOT / "docs")) for file in tracked("docs/*.md")}
    assert of_docs <= set(named)


def test_a_small_site_is_built(small: Path) -> None:
    assert build(small / "stage", small, small / "site") == 0
    assert "`[no](link.md)`" in str(pages(small)["tutorials/one.md"])
    assert "print" in (small / "site" / "source" / "code.py.html").read_text()


@pytest.mark.parametrize("link", ["nothing.md", "../../../outside.md"])
def test_a_link_that_leads_nowhere_is_named(small: Path, link: str) -> None:
    (small / "docs" / "tutorials" / "one.md").write_text(f"# One\n\n[x]({link})\n")
    with pytest.raises(FileNotFoundError, match=f"one.md: a link leads nowhere: {link}"):
        pages(small)


def test_an_anchor_that_is_not_there_fails_the_build_and_leaves_the_old_site(small: Path) -> None:
    (small / "site").mkdir()
    (small / "site" / "old").touch()
    (small / "docs" / "tutorials" / "one.md").write_text("# One\n\n[x](../README.md#nothing)\n")
    assert build(small / "stage", small, small / "site") != 0
    assert (small / "site" / "old").exists()


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("docs/how-to/deploy.md", "how-to/deploy.md"),
        ("docs/images/system.svg", "images/system.svg"),
        ("docs/runbooks", "runbooks/index.md"),
        ("docs/decisions", "decisions/README.md"),
        ("docs/notebooks/drift.ipynb", "notebooks/drift.ipynb.md"),
        ("README.md", "source/README.md"),
        ("services/core", "source/services/core/README.md"),
        ("jobs", "source/jobs/index.md"),
        ("uv.lock", "source/uv.lock"),
        ("Makefile", "source/Makefile.md"),
    ],
)
def test_where_a_file_is_on_the_site(path: str, page: str) -> None:
    assert page_of(PurePosixPath(path)) == page


def test_code_is_left_as_it_is_and_an_item_of_a_list_is_none() -> None:
    text = "x\n\n    [a](b.md)\n    [a](b.md)\n\n- y:\n    - [glossary](reference/glossary.md#x)\n"
    assert linked(text, PurePosixPath("README.md").parent / "docs" / "README.md", print) == text
    there = linked("[a](docs/README.md)\n    [s](SECURITY.md#x)", PurePosixPath("README.md"), print)
    assert there == "[a](../README.md)\n    [s](SECURITY.md#x)"
