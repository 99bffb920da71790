"""The manifests of docs/how-to/gitops.md: their values render, and they have nothing that takes the model away."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.rendering import KUBE_VERSION, documents_of, helm
from support.settings import Settings

from beacon_core.commands.cluster_secrets import DATABASE_SECRETS, KEYS_CONFIG_MAP, OWN, SECRET_KEYS
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.product_values import UMBRELLA, told_all

Document = dict[str, Any]
PAGE = (ROOT / "docs" / "how-to" / "gitops.md").read_text(encoding="utf-8")
KINDS = {
    "Application": "argoproj.io/v1alpha1",
    "OCIRepository": "source.toolkit.fluxcd.io/v1",
    "HelmRelease": "helm.toolkit.fluxcd.io/v2",
}


@pytest.fixture(scope="module")
def manifests() -> dict[str, Document]:
    blocks = re.findall(r"^``` yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    found = [each for block in blocks for each in yaml.safe_load_all(block) if "kind" in each]
    return {each["kind"]: each for each in found}


def values(documents: dict[str, Document]) -> Document:
    found: Document = documents["HelmRelease"]["spec"]["values"]
    return found


def rendered(folder: Path, *arguments: str) -> list[Document]:
    file = folder / "product.json"
    file.write_text(json.dumps(told_all(load_product(Settings().product))), encoding="utf-8")
    options = ("--namespace=beacon", KUBE_VERSION, f"--values={file}", *arguments)
    done = helm("template", "beacon", f"charts/{UMBRELLA}", *options)
    assert done.returncode == 0, done.stderr
    return documents_of(done.stdout)


def test_the_page_has_a_manifest_of_each_kind(manifests: dict[str, Document]) -> None:
    assert {kind: each["apiVersion"] for kind, each in manifests.items()} == KINDS


def test_the_chart_that_they_name_is_the_umbrella_of_this_version(manifests: dict[str, Document]) -> None:
    chart = yaml.safe_load((ROOT / "charts" / UMBRELLA / "Chart.yaml").read_text(encoding="utf-8"))
    source = manifests["Application"]["spec"]["sources"][0]
    assert (source["chart"], source["targetRevision"]) == (chart["name"], chart["version"])
    assert manifests["OCIRepository"]["spec"]["url"].endswith(f"/charts/{chart['name']}")
    assert manifests["OCIRepository"]["spec"]["ref"]["semver"] == chart["version"].rpartition(".")[0] + ".x"


def test_the_values_that_they_show_render(manifests: dict[str, Document], tmp_path: Path) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values(manifests)), encoding="utf-8")
    found = {(each["kind"], each["metadata"]["name"]): each for each in rendered(tmp_path, f"--values={file}")}
    assert found["Deployment", "beacon-inference"]["spec"]["replicas"] == 3
    (by_hand,) = re.findall(r"`(retraining: \{migration: [^`]*)`", PAGE)
    file.write_text(by_hand, encoding="utf-8")
    hooks = [each for each in rendered(tmp_path, f"--values={file}") if each["metadata"].get("annotations")]
    phases = {each["metadata"]["name"]: each["metadata"]["annotations"].get("helm.sh/hook") for each in hooks}
    assert phases["beacon-retraining-migration"] == "pre-install,pre-upgrade"


def test_nothing_in_them_replaces_objects(manifests: dict[str, Document]) -> None:
    options = manifests["Application"]["spec"]["syncPolicy"]["syncOptions"]
    assert not {"Replace=true", "Force=true"} & set(options)
    assert manifests["HelmRelease"]["spec"]["upgrade"]["force"] is False


def test_the_signature_that_they_ask_for_is_that_of_the_release_workflow(manifests: dict[str, Document]) -> None:
    (identity,) = manifests["OCIRepository"]["spec"]["verify"]["matchOIDCIdentity"]
    subject = "https://github.com/OWNER/beacon/.github/workflows/release.yml@refs/tags/v0.1.0"
    assert re.match(identity["subject"], subject)
    assert re.match(identity["issuer"], "https://token.actions.githubusercontent.com")
    assert not re.match(identity["subject"], subject.replace("release.yml@refs/tags", "other.yml@refs/heads"))
    assert (ROOT / ".github" / "workflows" / "release.yml").is_file()


def test_hooks_come_before_all_else_in_the_order_that_the_page_says(tmp_path: Path) -> None:
    """Argo CD runs those of `pre-install` and `pre-upgrade` before a sync, and would wait for others."""
    notes = [each["metadata"].get("annotations", {}) for each in rendered(tmp_path)]
    phases = {phase for note in notes for phase in note.get("helm.sh/hook", "").split(",") if phase}
    assert phases <= {"pre-install", "pre-upgrade", "test"}


def test_the_table_of_secrets_names_every_one() -> None:
    section = PAGE.partition("## Secrets\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z][a-z-]+)`", section))
    assert {*OWN, *SECRET_KEYS, KEYS_CONFIG_MAP} - set(DATABASE_SECRETS) <= named
    assert "`beacon-database-ROLE`" in section
