"""What the workflows of releases and of kind run: every image for both processors, signed, and what the pages say."""

import re
from typing import Any

import pytest
import yaml

from beacon_core.platform.settings import ROOT
from tools.deploy import BY_HAND, RELEASES

SERVICES = {file.parent.name for file in (ROOT / "services").glob("*/Dockerfile")}
CLUSTERS = ROOT / "charts" / "beacon" / "clusters"


def workflow(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    found: dict[str, Any] = workflow("release")["jobs"]
    return found


def step(job: dict[str, Any], action: str) -> dict[str, Any]:
    (found,) = [each for each in job["steps"] if str(each.get("uses", "")).startswith(f"{action}@")]
    given: dict[str, Any] = found.get("with", {})
    return given


def commands(job: dict[str, Any]) -> str:
    return "\n".join(each.get("run", "") for each in job["steps"])


def test_a_tag_alone_publishes() -> None:
    assert workflow("release")[True] == {"push": {"tags": ["v*.*.*"]}}  # what YAML makes of the key `on`


def test_every_image_is_built_for_both_processors_with_what_says_how(jobs: dict[str, Any]) -> None:
    job = jobs["images"]
    assert set(job["strategy"]["matrix"]["service"]) == SERVICES
    build = step(job, "docker/build-push-action")
    assert build["platforms"] == "linux/amd64,linux/arm64"
    assert (build["push"], build["sbom"], build["provenance"]) == (True, True, "mode=max")
    assert build["file"] == "services/${{ matrix.service }}/Dockerfile"
    # The sources are those of the tag's commit, and the images have its version.
    assert build["context"].endswith(".git#${{ github.sha }}")
    assert build["tags"] == "${{ env.IMAGE }}:${{ needs.pack.outputs.version }}"
    assert build["build-args"].split() == [
        *("VERSION=${{", "needs.pack.outputs.version", "}}"),
        *("REVISION=${{", "github.sha", "}}"),
    ]


@pytest.mark.parametrize("name", ["images", "charts"])
def test_what_is_published_is_signed_by_its_digest_without_a_key(jobs: dict[str, Any], name: str) -> None:
    job = jobs[name]
    assert job["permissions"] == {"contents": "read", "packages": "write", "id-token": "write"}
    step(job, "sigstore/cosign-installer")
    signed = re.findall(r"cosign sign --yes \"(.*)\"", commands(job))
    assert [each.rpartition("@")[2].lower() for each in signed] == ["$digest"]


def test_charts_come_after_the_images_that_they_name(jobs: dict[str, Any]) -> None:
    assert set(jobs["charts"]["needs"]) == {"pack", "images"}
    assert set(jobs["notes"]["needs"]) == {"images", "charts"}
    packed = commands(jobs["pack"])
    assert 'make release-files TAG="$GITHUB_REF_NAME" REGISTRY="$HOST/$OWNER/" SOURCE="$SOURCE" FILES=release' in packed
    (env,) = [each["env"] for each in jobs["pack"]["steps"] if "SOURCE" in each.get("env", {})]
    assert env["SOURCE"] == "${{ github.server_url }}/${{ github.repository }}"
    image = "${{ vars.REGISTRY }}/${{ needs.pack.outputs.owner }}/beacon-${{ matrix.service }}"
    assert jobs["images"]["env"]["IMAGE"] == image
    assert "--notes-file release/notes.md" in commands(jobs["notes"])
    assert "release/*.cdx.json" in commands(jobs["notes"])


def test_kind_has_its_images_and_one_install_on_each_change() -> None:
    given = workflow("cluster")
    assert {"push", "pull_request"} <= given[True].keys()
    job = given["jobs"]["kind"]
    ran = commands(job)
    assert 'make images TAG=ci BUILDER=docker LOAD_IMAGE="kind load docker-image"' in ran
    assert "make e2e-umbrella TAG=ci ADDRESS=http://127.0.0.1" in ran
    file = ROOT / step(job, "helm/kind-action")["config"]
    assert file == CLUSTERS / "kind-cluster.yaml"
    (node,) = yaml.safe_load(file.read_text(encoding="utf-8"))["nodes"]
    ports = {each["containerPort"]: each["hostPort"] for each in node["extraPortMappings"]}
    assert ports == {80: 80, 443: 443}


def test_the_charts_that_are_released_are_all_of_them() -> None:
    assert {file.parent.name for file in (ROOT / "charts").glob("*/values.yaml")} == {*RELEASES, *BY_HAND, "beacon"}
