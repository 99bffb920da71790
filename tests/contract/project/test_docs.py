"""Documents that must not fall behind the code."""

import re
from pathlib import Path

import msgspec

from beacon_core.platform.settings import PREFIX, ROOT, Settings

DECISION = re.compile(r"(\d{4})-[a-z0-9-]+\.md")


def test_every_setting_is_documented_and_nothing_else() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    documented = set(re.findall(rf"^\| `({PREFIX}\w+)`", text, flags=re.MULTILINE))
    assert documented == {f"{PREFIX}{field.name.upper()}" for field in msgspec.structs.fields(Settings)}


def test_decisions_are_numbered_without_gaps_and_say_their_status() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(match[1]) for file in files if (match := DECISION.fullmatch(file.name))]
    assert numbers
    assert numbers == list(range(1, len(files) + 1))
    for number, file in zip(numbers, files, strict=True):
        text = file.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. "), file.name
        assert re.search(r"^Status: (accepted|superseded by \d+)$", text, flags=re.MULTILINE), file.name


def test_every_relative_link_leads_somewhere() -> None:
    documents = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    ]
    assert links
    for document, target in links:
        assert (document.parent / Path(target)).exists(), f"{document.name}: {target}"


def test_every_path_of_the_recipes_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`", text)
    commands = re.findall(r"pytest ([\w./-]+)", text)
    assert len(paths) > 30
    assert commands
    assert [path for path in [*paths, *commands] if not (ROOT / path).exists()] == []


def test_every_target_of_the_recipes_is_one() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^    )make ([a-z][a-z-]*)", text, flags=re.MULTILINE)
    assert len(set(named)) > 5
    assert [name for name in named if not re.search(rf"^{name}:", makefile, flags=re.MULTILINE)] == []
