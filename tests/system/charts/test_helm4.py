"""Helm 4 makes of the charts what Helm 3 does, where it is there (`make .tools/bin/helm4`)."""

import shutil
import subprocess

import pytest
from support.rendering import CASES, KUBE_VERSION, documents_of, rendered

from beacon_core.platform.settings import ROOT
from tools.product_values import UMBRELLA

HELM_4 = "helm4"

pytestmark = pytest.mark.skipif(shutil.which(HELM_4) is None, reason="Helm 4 is not here: make .tools/bin/helm4")


def helm4(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM_4, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize(("chart", "values"), CASES)
def test_helm_4_renders_what_helm_3_renders(chart: str, values: str) -> None:
    given = ("--namespace=beacon", KUBE_VERSION, "--values", f"charts/{chart}/ci/{values}")
    release = chart if chart == UMBRELLA else f"beacon-{chart}"
    done = helm4("template", release, f"charts/{chart}", *given)
    assert done.returncode == 0, done.stderr
    found = documents_of(done.stdout)
    wanted = rendered(chart, values)
    assert len(found) == len(wanted)
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in found}
    for document in wanted:
        assert by_name[document["kind"], document["metadata"]["name"]] == document


@pytest.mark.parametrize(("chart", "values"), CASES)
def test_helm_4_lints_the_charts(chart: str, values: str) -> None:
    done = helm4("lint", "--strict", f"charts/{chart}", "--values", f"charts/{chart}/ci/{values}", KUBE_VERSION)
    assert done.returncode == 0, done.stdout + done.stderr


def test_helm_4_refuses_a_misspelt_value() -> None:
    given = ("--values=charts/console/ci/default-values.yaml", "--set=replics=2")
    done = helm4("template", "beacon-console", "charts/console", KUBE_VERSION, *given)
    assert done.returncode != 0
    assert "replics" in done.stderr
