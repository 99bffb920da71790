"""What skaffold.yaml names is there, and what skaffold makes of it where that is there (`make .tools/bin/skaffold`).

`tests/system/gitops/test_skaffold_deploys.py` has it install the chart on a real API.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.products import SPEC
from support.rendering import containers, documents_of, helm, pods, template
from support.skaffold import IMAGES, NEEDED, make, skaffold

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.product_values import UMBRELLA, told_all

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    return found


def commands(node: Any) -> list[list[str]]:
    """Every command of a hook, wherever it is."""
    if isinstance(node, list):
        return [command for each in node for command in commands(each)]
    if not isinstance(node, dict):
        return []
    own = [node["command"]] if isinstance(node.get("command"), list) else []
    return own + [command for each in node.values() for command in commands(each)]


def at(node: Any, path: str) -> Any:
    """What lies at a JSON pointer; KeyError or IndexError where nothing does."""
    for part in path.strip("/").split("/"):
        node = node[int(part)] if isinstance(node, list) else node[part]
    return node


def test_files_and_folders_are_there(config: dict[str, Any]) -> None:
    for artifact in config["build"]["artifacts"]:
        assert (ROOT / artifact["context"] / artifact["docker"]["dockerfile"]).is_file()
    for release in config["deploy"]["helm"]["releases"]:
        assert (ROOT / release["chartPath"] / "Chart.yaml").is_file()


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make umbrella` writes of a product."""
    file = tmp_path_factory.mktemp("values") / f"{UMBRELLA}.json"
    file.write_text(json.dumps(told_all(load_product(SPEC))), encoding="utf-8")
    return file


def test_every_image_of_the_chart_is_the_one_that_was_built(config: dict[str, Any], values: Path) -> None:
    """As skaffold does it: `--set` for each template, whose tag must not be a number."""
    assert config["build"]["tagPolicy"]["gitCommit"]["prefix"] == "git-"
    given = {}
    for image in IMAGES:
        name = image.replace("-", "_")
        given |= {f"IMAGE_REPO_{name}": f"registry.example.com/{image}", f"IMAGE_TAG_{name}": "git-12345678"}
    (release,) = config["deploy"]["helm"]["releases"]
    assert release["valuesFiles"] == [f".beacon/product-values/{UMBRELLA}.json"]
    options = []
    for key, text in release["setValueTemplates"].items():
        value = re.sub(r"{{[.](\w+)}}", lambda match: given[match[1]], text)
        options.append(f"--set={key}={value}")
    done = template(UMBRELLA, f"--values={values}", *options)
    assert done.returncode == 0, done.stderr
    of_charts = {each["image"] for _, spec in pods(documents_of(done.stdout)) for each in containers(spec)}
    ours = {f"registry.example.com/{image}:git-12345678" for image in IMAGES}
    assert {each for each in of_charts if "beacon-" in each} == ours


def test_what_hooks_call_is_there(config: dict[str, Any]) -> None:
    found = commands(config)
    targets = {command[1] for command in found if command[0] == "make"}
    assert {target for target in targets if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)} == set()
    files = [word.partition("=")[2] for command in found for word in command if word.startswith("--patch-file=")]
    assert files
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert {command[0] for command in found} == {"make", "kubectl", "sh"}


def test_a_profile_patches_what_is_there(config: dict[str, Any]) -> None:
    for profile in config["profiles"]:
        for patch in profile["patches"]:
            assert patch["op"] == "add"
            parent = at(config, patch["path"].rpartition("/")[0])
            assert isinstance(parent, dict)
    (inference,) = [each for each in config["profiles"] if each["name"] == "inference"]
    index = {patch["path"].split("/")[3] for patch in inference["patches"] if "/artifacts/" in patch["path"]}
    assert {config["build"]["artifacts"][int(number)]["image"] for number in index} == {"beacon-inference"}


def test_the_files_that_are_synced_are_those_of_the_image(config: dict[str, Any]) -> None:
    (inference,) = [each for each in config["profiles"] if each["name"] == "inference"]
    (sync,) = [patch["value"]["manual"] for patch in inference["patches"] if patch["path"].endswith("/sync")]
    for rule in sync:
        assert list(ROOT.glob(rule["src"])), rule


@pytest.mark.skipif(NEEDED is not None, reason=str(NEEDED))
@pytest.mark.parametrize("profile", ["", "inference"])
def test_skaffold_takes_the_file(profile: str, config: dict[str, Any], tmp_path: Path) -> None:
    taken = yaml.safe_load(
        skaffold("diagnose", "--yaml-only", *([f"--profile={profile}"] if profile else []), home=tmp_path)
    )
    assert [each["image"] for each in taken["build"]["artifacts"]] == list(IMAGES)
    assert ("sync" in taken["build"]["artifacts"][0]) == (profile == "inference")
    assert ("after" in taken["deploy"]["helm"]["hooks"]) == (profile == "inference")


@pytest.mark.skipif(NEEDED is not None, reason=str(NEEDED))
def test_skaffold_renders_what_helm_renders(tmp_path: Path) -> None:
    plain = helm("template", UMBRELLA, f"charts/{UMBRELLA}", "--values=charts/beacon/ci/default-values.yaml")
    if "incompatible with Kubernetes v1.20" in plain.stderr:
        pytest.skip("this helm knows no version of Kubernetes, and skaffold names none: make .tools/bin/helm")
    make("product-values")
    images = [f"--images={each}={each}:t1" for each in IMAGES]
    found = documents_of(skaffold("render", "--digest-source=tag", "--offline=true", *images, home=tmp_path))
    values = f"--values=.beacon/product-values/{UMBRELLA}.json"
    wanted = documents_of(template(UMBRELLA, values, "--set=global.tag=t1").stdout)
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in found}
    assert len(by_name) == len(found) == len(wanted) > 40
    for document in wanted:
        assert by_name[document["kind"], document["metadata"]["name"]] == document
