"""What skaffold.yaml names is there: skaffold itself cannot be had where Beacon is built."""

import re
from typing import Any

import pytest
import yaml

from beacon_core.platform.settings import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def skaffold() -> dict[str, Any]:
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


def test_files_and_folders_are_there(skaffold: dict[str, Any]) -> None:
    for artifact in skaffold["build"]["artifacts"]:
        assert (ROOT / artifact["context"] / artifact["docker"]["dockerfile"]).is_file()
    for release in skaffold["deploy"]["helm"]["releases"]:
        assert (ROOT / release["chartPath"] / "Chart.yaml").is_file()


def test_every_value_of_a_template_is_of_an_image_or_documented(skaffold: dict[str, Any]) -> None:
    images = {artifact["image"].replace("-", "_") for artifact in skaffold["build"]["artifacts"]}
    known = {f"IMAGE_{kind}_{image}" for image in images for kind in ("REPO", "TAG")}
    used = set(re.findall(r"{{\.(\w+)}}", (ROOT / "skaffold.yaml").read_text(encoding="utf-8")))
    assert used - known == {"BEACON_MODEL_VERSION", "BEACON_MODEL_SHA256"}


def test_what_hooks_call_is_there(skaffold: dict[str, Any]) -> None:
    found = commands(skaffold)
    targets = {command[1] for command in found if command[0] == "make"}
    assert {target for target in targets if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)} == set()
    files = [word.partition("=")[2] for command in found for word in command if word.startswith("--patch-file=")]
    assert files
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert {command[0] for command in found} == {"make", "kubectl", "sh"}


def test_a_profile_patches_what_is_there(skaffold: dict[str, Any]) -> None:
    for profile in skaffold["profiles"]:
        for patch in profile["patches"]:
            assert patch["op"] == "add"
            parent = at(skaffold, patch["path"].rpartition("/")[0])
            assert isinstance(parent, dict)
    (inference,) = [each for each in skaffold["profiles"] if each["name"] == "inference"]
    index = {patch["path"].split("/")[3] for patch in inference["patches"] if "/artifacts/" in patch["path"]}
    assert {skaffold["build"]["artifacts"][int(number)]["image"] for number in index} == {"beacon-inference"}


def test_the_files_that_are_synced_are_those_of_the_image(skaffold: dict[str, Any]) -> None:
    (inference,) = [each for each in skaffold["profiles"] if each["name"] == "inference"]
    (sync,) = [patch["value"]["manual"] for patch in inference["patches"] if patch["path"].endswith("/sync")]
    for rule in sync:
        assert list(ROOT.glob(rule["src"])), rule
