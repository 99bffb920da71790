"""A tag is released where it is the version of everything and CHANGELOG.md has notes for it."""

import re
import shutil
from pathlib import Path

import pytest

from beacon_core.platform.settings import ROOT, Settings
from tools import release

NOTES = "## 1.2.3 (2026-12-01)\n\n- this\n  and that\n\n## 1.2.2\n\n- before\n"
CHANGELOG = f"# Changelog\n\n## Unreleased\n\n- later\n\n{NOTES}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What names versions, all of one, and notes for it."""
    patterns = ("pyproject.toml", "services/*/pyproject.toml", "services/*/Dockerfile", "charts/*/Chart.yaml")
    for file in [file for pattern in patterns for file in ROOT.glob(pattern)]:
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    version = Settings().build_version
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG.replace("1.2.3", version), encoding="utf-8")
    return tmp_path


def test_this_checkout_has_one_version() -> None:
    assert set(release.versions(ROOT).values()) == {Settings().build_version}
    assert len(release.versions(ROOT)) > 40


def test_a_tag_of_that_version_is_taken(checkout: Path) -> None:
    assert release.objections(f"v{Settings().build_version}", checkout) == []


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2", "v1.2.3.4", "release", ""])
def test_what_is_no_tag_of_a_release_is_refused(checkout: Path, tag: str) -> None:
    assert release.objections(tag, checkout) == [f"{tag} is no tag of a release, such as v1.2.3"]


@pytest.mark.parametrize(
    ("file", "pattern", "place"),
    [
        ("services/core/pyproject.toml", r'^version = ".*"', "services/core/pyproject.toml"),
        ("services/console/Dockerfile", r"^ARG VERSION=.*", "services/console/Dockerfile"),
        ("charts/platform/Chart.yaml", r"^appVersion: .*", "charts/platform/Chart.yaml: appVersion"),
        ("charts/beacon/Chart.yaml", r"name: console, version: [^,]*", "charts/beacon/Chart.yaml: console"),
    ],
)
def test_a_place_with_another_version_is_named(checkout: Path, file: str, pattern: str, place: str) -> None:
    text = (checkout / file).read_text(encoding="utf-8")
    other = re.sub(pattern, lambda match: match[0].replace(Settings().build_version, "0.0.9"), text, flags=re.MULTILINE)
    assert other != text
    (checkout / file).write_text(other, encoding="utf-8")
    assert release.objections(f"v{Settings().build_version}", checkout) == [f"{place} says 0.0.9"]


def test_a_version_without_notes_is_refused(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- later\n", encoding="utf-8")
    version = Settings().build_version
    assert release.objections(f"v{version}", checkout) == [f"CHANGELOG.md has no section ## {version}"]


def test_notes_are_those_of_the_version_alone() -> None:
    assert release.notes(CHANGELOG, "1.2.3") == "- this\n  and that"
    assert release.notes(CHANGELOG, "1.2.2") == "- before"
    assert release.notes(CHANGELOG, "1.2") == ""
