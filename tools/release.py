"""The files of a release: its charts, packed to be pushed to a registry, and its notes, taken from CHANGELOG.md.

`make release-files TAG=v1.2.3 REGISTRY=registry.example.com/you/`. A tag that is not the version of everything, or that
CHANGELOG.md says nothing about, ends it with status 1.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import yaml

from tools.schema import charts as charts_of

ROOT = Path(__file__).parents[1]
LIBRARY = "beacon-lib"
HELM = os.environ.get("HELM", "helm")
TAG = re.compile(r"^v(\d+\.\d+\.\d+(?:-[0-9a-z.]+)?)$")
ICON = "services/console/beacon_console/static/icon.svg"
OWN_IMAGE = re.compile(r"^ *(?:repository: |# Repository of .*; empty: )(beacon-[a-z-]+)(?: |$)", re.MULTILINE)
"""Where values name an image of ours, or say which it is where they name none."""
GLOBAL_REGISTRY = re.compile(r'^(global:\n(?:(?:  [^\n]*)?\n)*?  registry: )""$', re.MULTILINE)


def versions(root: Path) -> dict[str, str]:
    """Every place that names the version of this checkout, and what it says."""
    found: dict[str, str] = {}
    for file in (root / "pyproject.toml", *sorted(root.glob("services/*/pyproject.toml"))):
        found[str(file.relative_to(root))] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"]
    for file in sorted(root.glob("services/*/Dockerfile")):
        (version,) = re.findall(r"^ARG VERSION=(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        found[str(file.relative_to(root))] = version
    for file in sorted(root.glob("charts/*/Chart.yaml")):
        chart: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        name = str(file.relative_to(root))
        found[name] = chart["version"]
        if "appVersion" in chart:
            found[f"{name}: appVersion"] = chart["appVersion"]
        for part in chart.get("dependencies", []):
            found[f"{name}: {part['name']}"] = part["version"]
    return found


def notes(changelog: str, version: str) -> str:
    """What CHANGELOG.md says of a version; empty where it says nothing."""
    match = re.search(rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return match[1].strip() if match else ""


def objections(tag: str, root: Path) -> list[str]:
    """Why the checkout cannot be released by that tag; none where it can."""
    match = TAG.match(tag)
    if match is None:
        return [f"{tag} is no tag of a release, such as v1.2.3"]
    found = [f"{place} says {version}" for place, version in versions(root).items() if version != match[1]]
    if not notes((root / "CHANGELOG.md").read_text(encoding="utf-8"), match[1]):
        found.append(f"CHANGELOG.md has no section ## {match[1]}")
    return found


def pack(registry: str, out: Path, root: Path, source: str = "") -> list[Path]:
    """Pack every chart with its dependencies into `out`, its images those of `registry`; the files.

    `source`: the address of the repository, which each chart then names.

    Raises `SystemExit` where Helm refuses.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="charts-") as name:
        copied = Path(name) / "charts"
        shutil.copytree(root / "charts", copied, ignore=shutil.ignore_patterns("Chart.lock"))
        for folder in charts_of():
            chart = copied / folder.name
            values = chart / "values.yaml"
            values.write_text(_of_registry(values.read_text(encoding="utf-8"), registry), encoding="utf-8")
            _say_where_from(chart, registry, source)
            _helm("dependency", "update", str(chart))
            _helm("package", str(chart), f"--destination={out}")
    return sorted(out.glob("*.tgz"))


def _of_registry(values: str, registry: str) -> str:
    """The values of a chart whose images are those of a registry, unless its user names another."""
    changed, count = GLOBAL_REGISTRY.subn(lambda match: f'{match[1]}"{registry}"', values)
    return (
        changed if count else f'{values}\n# Where the images of this release are.\nglobal: {{registry: "{registry}"}}\n'
    )


def _say_where_from(chart: Path, registry: str, source: str) -> None:
    """Write into Chart.yaml what only a release knows: its repository, its icon, and its images for Artifact Hub."""
    file = chart / "Chart.yaml"
    told: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    parts = [chart.name, *(part["name"] for part in told.get("dependencies", []))]
    texts = [(chart.parent / part / "values.yaml").read_text(encoding="utf-8") for part in parts if part != LIBRARY]
    names = sorted({name for text in texts for name in OWN_IMAGE.findall(text)})
    images = [{"name": name, "image": f"{registry}{name}:{told['appVersion']}"} for name in names]
    told["annotations"]["artifacthub.io/images"] = yaml.safe_dump(images, sort_keys=False)
    if source:
        told |= {"home": source, "sources": [source], "icon": f"{source}/raw/v{told['version']}/{ICON}"}
        told["maintainers"] = [each | {"url": source} for each in told["maintainers"]]
    file.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")


def _helm(*arguments: str) -> None:
    command = [HELM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - helm, without a shell
    if done.returncode != 0:
        raise SystemExit(f"helm {' '.join(arguments)}: {done.stderr.strip()}")


def main() -> int:
    """Check, pack, and write the notes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag", help="the tag, such as v1.2.3")
    parser.add_argument("--registry", default="", help="registry before the names of the images, with its last slash")
    parser.add_argument("--source", default="", help="address of the repository, which the charts name as their home")
    parser.add_argument("--out", type=Path, required=True, help="folder of the packed charts and notes.md")
    options = parser.parse_args()
    found = objections(options.tag, ROOT)
    if found:
        print(f"{options.tag} cannot be released:", *found, sep="\n  ", file=sys.stderr)
        return 1
    files = pack(options.registry, options.out, ROOT, options.source)
    text = notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), options.tag.removeprefix("v"))
    (options.out / "notes.md").write_text(f"{text}\n", encoding="utf-8")
    print(f"{len(files)} charts and notes.md are in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
