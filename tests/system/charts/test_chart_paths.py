"""Charts and values that lie in folders of any name."""

import shutil
from pathlib import Path

import pytest
import yaml
from support.nasty import TOGETHER
from support.rendering import helm

from beacon_core.domain.product import Product
from beacon_core.platform.settings import ROOT
from tools.deploy import Cluster

CHART, VALUES = "console", "ingress-values.yaml"


@pytest.mark.parametrize("name", TOGETHER)
def test_helm_finds_charts_and_values_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: Product, name: str
) -> None:
    """What `make deploy` tells Helm, but for what needs a cluster."""
    charts = shutil.copytree(ROOT / "charts", tmp_path / name / "charts")
    monkeypatch.setattr("tools.deploy.CHARTS", charts)
    folder = tmp_path / name / "values"
    folder.mkdir()
    shutil.copy(charts / CHART / "ci" / VALUES, folder / f"{CHART}.yaml")
    outputs = []

    def template(command: list[str], given: str | None = None, folder: Path | None = None, **_: object) -> str:
        offline = {"upgrade": "template", "--install": "--kube-version=1.34.0"}
        done = helm(*(offline.get(word, word) for word in command[1:]), given=given, folder=folder or ROOT)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
        return done.stdout

    monkeypatch.setattr("tools.deploy.run", template)
    Cluster("beacon", "", "tag", folder, product).upgrade(CHART)
    kinds = {document["kind"] for document in yaml.safe_load_all(outputs[-1]) if document}
    assert kinds >= {"Deployment", "Service", "Ingress"}
