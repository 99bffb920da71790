"""The charts as Helm renders them, with every set of values in their ci/ folders."""

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from beacon_core.platform.settings import ROOT
from tools.product_values import UMBRELLA
from tools.schema import charts

HELM = os.environ.get("HELM", "helm")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
KUBE_VERSION = "--kube-version=1.34.0"
CASES = [(folder.name, file.name) for folder in charts() for file in sorted((folder / "ci").glob("*-values.yaml"))]


def helm(*arguments: str, given: str | None = None, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *arguments], input=given, capture_output=True, text=True, check=False, cwd=folder)


def update_dependencies() -> None:
    """Bring each chart what it depends on, as `helm install` needs it."""
    for folder in charts():
        done = helm("dependency", "update", str(folder))
        assert done.returncode == 0, done.stderr


def template(chart: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    release = chart if chart == UMBRELLA else f"{UMBRELLA}-{chart}"
    return helm("template", release, f"charts/{chart}", "--namespace=beacon", KUBE_VERSION, *arguments)


@cache
def rendered(chart: str, values: str) -> list[dict[str, Any]]:
    done = template(chart, "--values", f"charts/{chart}/ci/{values}")
    assert done.returncode == 0, done.stderr
    return documents_of(done.stdout)


def documents_of(text: str) -> list[dict[str, Any]]:
    """What Helm rendered. By libyaml: in Python alone the dashboards would take seconds each time."""
    return [document for document in yaml.load_all(text, Loader=LOADER) if document]


def pods(documents: list[dict[str, Any]]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """The labels and the spec of every pod."""
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] == "Pod":
            yield document["metadata"]["labels"], spec
        elif document["kind"] == "CronJob":
            inner = spec["jobTemplate"]["spec"]["template"]
            yield inner["metadata"]["labels"], inner["spec"]
        elif "template" in spec:
            yield spec["template"]["metadata"]["labels"], spec["template"]["spec"]


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", []), *spec["containers"]]
