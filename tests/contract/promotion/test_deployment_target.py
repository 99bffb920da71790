"""The Deployment as a target, by the official client on an API over a real socket: what is written and what is not."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from support.kube_api import RELEASE, Cluster, api, merged
from support.settings import Settings

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release
from beacon_promotion.targets.base.target import ReleaseFailedError, TargetUnavailableError
from beacon_promotion.targets.kubernetes import deployment_target, pods
from beacon_promotion.targets.kubernetes.deployment_target import DeploymentTarget, canary_of

pytestmark = pytest.mark.slow

OLD, NEW, BAD = (Pin("boston-housing", version, version * 64) for version in ("1", "2", "3"))
MAIN, CANARY = ("deployments", "beacon-inference"), ("deployments", "beacon-inference-canary")
NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"
LABELS = {NAME: "inference", "app.kubernetes.io/part-of": "beacon", INSTANCE: "beacon"}
SPREAD = {"topologyKey": "zone", "labelSelector": {"matchLabels": LABELS}}


def deployment() -> dict[str, Any]:
    """As the chart renders it without a model."""
    spec = {"containers": [{"name": "inference", "image": "beacon-inference:1"}], "topologySpreadConstraints": [SPREAD]}
    template = {"metadata": {"labels": LABELS, "annotations": {"beacon/product": "x"}}, "spec": spec}
    content = {"replicas": 4, "selector": {"matchLabels": LABELS}, "template": template}
    labels = LABELS | {"app.kubernetes.io/managed-by": "Helm"}
    return {"kind": "Deployment", "metadata": {"name": MAIN[1], "labels": labels}, "spec": deepcopy(content)}


@pytest.fixture
def cluster() -> Cluster:
    found = Cluster()
    found.broken = {BAD.version}
    found.put("deployments", deployment())
    return found


@pytest.fixture
def target(cluster: Cluster, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeploymentTarget]:
    for module in (deployment_target, pods):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(deployment_target, "ROLLOUT_SECONDS", 2.0)
    with api(cluster) as access:
        yield DeploymentTarget(Settings(home=tmp_path), access)


def given(cluster: Cluster, which: tuple[str, str] = MAIN) -> dict[str, Any] | None:
    annotations = cluster.objects[which]["spec"]["template"]["metadata"]["annotations"]
    return json.loads(annotations[RELEASE]) if RELEASE in annotations else None


def test_nothing_serves_until_the_first_release(cluster: Cluster, target: DeploymentTarget) -> None:
    assert target.serving() is None
    target.release(OLD)
    assert target.serving() == Release(OLD)
    assert given(cluster) == {"model": {"name": OLD.name, "version": "1", "sha256": "1" * 64}, "shadow": None}


def test_a_release_changes_the_annotation_and_nothing_else(cluster: Cluster, target: DeploymentTarget) -> None:
    target.release(OLD)
    before = deepcopy(cluster.objects[MAIN])
    target.release(NEW)
    after = deepcopy(cluster.objects[MAIN])
    assert target.serving() == Release(NEW)
    for document in (before, after):
        document["spec"]["template"]["metadata"]["annotations"].pop(RELEASE)
        document["metadata"].pop("generation")
        document.pop("status")
    assert before == after


def test_an_upgrade_by_others_leaves_the_model(cluster: Cluster, target: DeploymentTarget) -> None:
    """Helm, Argo CD and Flux patch the fields that they render, and the chart renders no model."""
    target.release(OLD)
    rendered = deployment()
    rendered["spec"]["template"]["spec"]["containers"][0]["image"] = "beacon-inference:2"
    cluster.put("deployments", merged(cluster.objects[MAIN], rendered))
    assert target.serving() == Release(OLD)


def test_a_model_that_does_not_load_leaves_the_old_pods_and_is_gone_back_from(
    cluster: Cluster, target: DeploymentTarget
) -> None:
    target.release(OLD)
    with pytest.raises(ReleaseFailedError, match="does not run") as failed:
        target.release(BAD)
    assert failed.value.reason == "crash_at_load"
    annotations = [pod["metadata"]["annotations"][RELEASE] for pod in cluster.pods[MAIN[1]]]
    versions = [json.loads(annotation)["model"]["version"] for annotation in annotations]
    assert sorted(versions) == ["1", "1", "1", "1", "3"]
    target.restore(OLD)
    assert target.serving() == Release(OLD)
    assert len(cluster.pods[MAIN[1]]) == 4


def test_a_first_model_that_does_not_load_is_taken_back(cluster: Cluster, target: DeploymentTarget) -> None:
    with pytest.raises(ReleaseFailedError):
        target.release(BAD)
    assert target.serving() is None
    assert given(cluster) is None


def test_a_canary_is_a_copy_with_pods_of_its_own(cluster: Cluster, target: DeploymentTarget) -> None:
    target.release(OLD)
    before = deepcopy(cluster.objects[MAIN])
    target.shadow(NEW)
    assert target.serving() == Release(OLD, NEW)
    assert given(cluster, CANARY) == {
        "model": {"name": OLD.name, "version": "1", "sha256": "1" * 64},
        "shadow": {"name": NEW.name, "version": "2", "sha256": "2" * 64},
    }
    target.canary(NEW, 0.5)
    assert target.serving() == Release(OLD)
    canary = cluster.objects[CANARY]
    assert (canary["spec"]["replicas"], given(cluster, CANARY)["model"]["version"]) == (4, "2")
    # The Service finds its pods, and neither Deployment counts the other's.
    labels = canary["spec"]["template"]["metadata"]["labels"]
    assert {NAME: "inference", "app.kubernetes.io/part-of": "beacon"}.items() <= labels.items()
    assert canary["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert not before["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert not canary["spec"]["selector"]["matchLabels"].items() <= LABELS.items()
    (constraint,) = canary["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert constraint["labelSelector"]["matchLabels"][INSTANCE] == "beacon-canary"
    # Helm, Argo CD and Flux take it for nobody's: it has neither their labels nor their annotations.
    assert canary["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "beacon-promotion"
    assert "annotations" not in canary["metadata"]
    target.canary(None, 0.0)
    assert CANARY not in cluster.objects
    assert cluster.objects[MAIN] == before


def test_a_canary_that_does_not_load_is_told(target: DeploymentTarget) -> None:
    target.release(OLD)
    with pytest.raises(ReleaseFailedError, match="does not run"):
        target.canary(BAD, 0.2)
    assert target.recover() == ["removed the canary that was left over"]
    assert target.serving() == Release(OLD)


def test_what_a_dead_run_left_is_removed_and_a_release_removes_it_too(
    cluster: Cluster, target: DeploymentTarget
) -> None:
    target.release(OLD)
    target.canary(NEW, 0.2)
    target.release(NEW)
    assert CANARY not in cluster.objects
    assert target.recover() == []


def test_what_is_checked_before_a_promotion(target: DeploymentTarget) -> None:
    target.check(None, NEW)
    target.release(OLD)
    with pytest.raises(ReleaseFailedError, match="serves version 1, and not version 2") as failed:
        target.check(NEW, BAD)
    assert failed.value.reason == "no_way_back"


def test_without_the_deployment_nothing_is_released(cluster: Cluster, target: DeploymentTarget) -> None:
    cluster.remove(*MAIN)
    assert target.serving() is None
    with pytest.raises(ReleaseFailedError, match="the Deployment beacon-inference is not there"):
        target.release(OLD)


def test_an_api_that_is_down_decides_nothing(tmp_path: Any, cluster: Cluster) -> None:
    with api(cluster) as access:
        target = DeploymentTarget(Settings(home=tmp_path), access)
    with pytest.raises(TargetUnavailableError):
        target.serving()


def test_only_what_the_role_allows_is_asked(cluster: Cluster, target: DeploymentTarget) -> None:
    target.release(OLD)
    target.shadow(NEW)
    target.canary(NEW, 0.2)
    target.release(NEW)
    target.restore(OLD)
    assert set(cluster.asked) == {
        "GET deployments beacon-inference",
        "GET deployments beacon-inference-canary",
        "PATCH deployments beacon-inference",
        "PATCH deployments beacon-inference-canary",
        "POST deployments beacon-inference-canary",
        "DELETE deployments beacon-inference-canary",
        "GET pods",
    }


@pytest.mark.parametrize(
    "theirs",
    [
        {"argocd.argoproj.io/instance": "beacon"},
        {"company.example/argo-app": "beacon"},
        {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"},
        {"helm.toolkit.fluxcd.io/name": "beacon", "helm.toolkit.fluxcd.io/namespace": "beacon"},
    ],
    ids=["Argo CD", "Argo CD by a key of one's own", "Flux", "Flux by Helm"],
)
def test_a_canary_has_no_label_by_which_argo_cd_or_flux_would_prune_it(theirs: dict[str, str]) -> None:
    main = deployment()
    main["metadata"]["labels"] |= theirs | {"team": "pricing"}
    main["spec"]["template"]["metadata"]["labels"] = LABELS | {"team": "pricing", "reach.beacon/mlflow": "true"}
    labels = canary_of(main, Release(NEW), 1)["metadata"]["labels"]
    assert labels == LABELS | {
        INSTANCE: "beacon-canary",
        "app.kubernetes.io/managed-by": "beacon-promotion",
        "team": "pricing",
    }


def test_another_installation_of_the_namespace_is_left_alone(
    cluster: Cluster, target: DeploymentTarget, tmp_path: Any
) -> None:
    text = json.dumps(deployment()).replace('"beacon-inference"', '"housing-beacon-inference"')
    cluster.put("deployments", json.loads(text.replace(': "beacon"', ': "housing-beacon"')))
    theirs = ("deployments", "housing-beacon-inference")
    with api(cluster) as access:
        other = DeploymentTarget(Settings(home=tmp_path, installation="housing-beacon"), access)
        target.release(OLD)
        assert other.serving() is None
        other.release(NEW)
        other.canary(OLD, 0.2)
        assert (target.serving(), other.serving()) == (Release(OLD), Release(NEW))
        # A run of ours that cleans up, and a release, are about our own canary and pods.
        assert target.recover() == []
        target.canary(NEW, 0.2)
        target.release(NEW)
        assert ("deployments", f"{theirs[1]}-canary") in cluster.objects
        labels = cluster.objects["deployments", f"{theirs[1]}-canary"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "housing-beacon-promotion"
        assert len(other.recover()) == 1
        assert CANARY not in cluster.objects
    assert {one.split()[2] for one in cluster.asked if one.startswith(("PATCH", "POST", "DELETE"))} == {
        MAIN[1],
        CANARY[1],
        theirs[1],
        f"{theirs[1]}-canary",
    }


def test_a_canary_of_a_deployment_leaves_that_one_alone() -> None:
    main = deployment()
    before = deepcopy(main)
    canary_of(main, Release(NEW), 1)
    assert main == before
