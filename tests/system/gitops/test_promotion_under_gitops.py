"""A promotion, a model that fails and a rollback, while Argo CD, Flux or Helm apply what is in Git again and again.

The API is the real one, with the rights and the admission policies of the charts; `tests/support/gitops.py` says what
stands for the tools, and `tests/support/argocd.py` has Argo CD itself. Each change of a Deployment's spec has a number
(`generation`), so a field that two sides write would show as numbers that nobody asked for.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.argocd import Application
from support.control_plane import RELEASE, ControlPlane, Kubelet
from support.gitops import Git, Syncer, key_of, syncing
from support.settings import Settings
from support.waiting import until
from system.gitops.tools import ITSELF, TOOLS, namespace_of, needs, product_values, promotion_of, repository, syncer

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release
from beacon_promotion.targets.base.target import ReleaseFailedError
from beacon_promotion.targets.kubernetes import deployment_target, pods
from beacon_promotion.targets.kubernetes.deployment_target import DeploymentTarget, is_rolled_out

OLD, NEW, BAD = (Pin("boston-housing", version, version * 64) for version in ("1", "2", "3"))
MAIN, CANARY = "beacon-inference", "beacon-inference-canary"
SECONDS = 600.0
SYNCS = 3
"""Syncs that have to pass where nothing may change."""


class World:
    """One namespace with the tool that syncs it, promotion, and Git."""

    def __init__(self, tool: str, plane: ControlPlane, folder: Path, charts: str = "") -> None:
        self.namespace, self.plane = namespace_of(tool), plane
        values = product_values(folder)
        self.git: Git = repository(self.namespace, values)
        self.syncer: Syncer = (
            Application(plane, self.namespace, charts, values)
            if tool == ITSELF
            else syncer(tool, plane, self.namespace, values)
        )
        self.kubelet = Kubelet(plane.access("admin", self.namespace))
        self.kubelet.broken = {BAD.version}
        self.target = DeploymentTarget(
            Settings(home=folder), plane.access(promotion_of(self.namespace), self.namespace)
        )

    def deployment(self, name: str = MAIN) -> dict[str, Any]:
        return self.plane.read("deployment", name, self.namespace)

    def settled(self) -> dict[str, Any]:
        """Inference's Deployment once its pods are those of its template."""
        return until(
            lambda: (found := self.deployment()) and is_rolled_out(found) and found, f"{MAIN} is rolled out", SECONDS
        )

    def image(self, name: str = MAIN) -> str:
        (container,) = self.deployment(name)["spec"]["template"]["spec"]["containers"]
        return str(container["image"])

    def versions(self) -> dict[tuple[str, str], str]:
        """By which each change of the objects of Git is seen, status and all."""
        live = json.loads(self.plane.kubectl("get", *_kinds(self.git), "-o", "json", namespace=self.namespace))["items"]
        wanted = {key_of(each) for each in self.git.tree}
        return {key_of(each): each["metadata"]["resourceVersion"] for each in live if key_of(each) in wanted}


def _kinds(git: Git) -> list[str]:
    return [",".join(sorted({each["kind"].lower() for each in git.tree}))]


@pytest.fixture(params=[tool for tool in TOOLS if tool != "replacing"])
def world(
    request: pytest.FixtureRequest, plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    missing = needs(request.param)
    if missing is not None:
        pytest.skip(missing)
    charts = request.getfixturevalue("charts") if request.param == ITSELF else ""
    made = _world(request.param, plane, tmp_path, monkeypatch, charts)
    yield made
    if isinstance(made.syncer, Application):
        made.syncer.close()


def _world(tool: str, plane: ControlPlane, folder: Path, monkeypatch: pytest.MonkeyPatch, charts: str = "") -> World:
    for module in (deployment_target, pods):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    namespace = namespace_of(tool)
    if not plane.read("namespace", namespace, "default"):
        plane.kubectl("create", "namespace", namespace)
    return World(tool, plane, folder, charts)


@pytest.fixture
def at_work(world: World) -> Iterator[World]:
    with world.kubelet.at_work():
        world.syncer.sync(world.git)
        until(world.deployment, "inference's Deployment is there")
        yield world


def test_promotion_outlives_every_sync_and_git_still_arrives(at_work: World) -> None:
    world, target, git = at_work, at_work.target, at_work.git
    assert target.serving() is None
    with syncing(world.syncer, git) as syncs, target.lock():
        target.release(OLD)
        assert target.serving() == Release(OLD)
        target.state.write("notes", b"{}")
        target.shadow(NEW)
        target.canary(NEW, 0.5)
        before = syncs.count
        until(lambda: syncs.count >= before + SYNCS, "syncs beside a canary", SECONDS)
        # The canary is nobody's: it is neither pruned nor changed.
        canary = world.deployment(CANARY)
        assert canary, "the canary was pruned"
        assert canary["metadata"]["generation"] == 2
        target.release(NEW)
        assert world.deployment(CANARY) == {}
        with pytest.raises(ReleaseFailedError, match="does not run"):
            target.release(BAD)
        target.restore(NEW)
        target.restore(OLD)
        before = syncs.count
        until(lambda: syncs.count >= before + SYNCS, "syncs after a rollback", SECONDS)
        assert target.serving() == Release(OLD)
    made, releases = 1, len([OLD, NEW, BAD, NEW, OLD])
    assert world.settled()["metadata"]["generation"] == made + releases

    git.commit("--set=global.tag=v2", "--set=inference.replicas=3")
    world.syncer.sync(git)
    live = world.settled()
    assert (world.image(), live["spec"]["replicas"]) == ("beacon-inference:v2", 3)
    assert live["metadata"]["generation"] == made + releases + 1
    assert target.serving() == Release(OLD)

    # A commit in the midst of a canary arrives, and neither model is lost.
    target.canary(NEW, 0.5)
    git.commit("--set=global.tag=v3")
    world.syncer.sync(git)
    world.settled()
    assert (world.image(), world.image(CANARY)) == ("beacon-inference:v3", "beacon-inference:v2")
    assert target.serving() == Release(OLD)
    # What is taken out of Git goes, and with it nothing that promotion made.
    git.commit("--set=install.console=false")
    world.syncer.sync(git)
    until(lambda: not world.deployment("beacon-console"), "the console is pruned", SECONDS)
    assert world.image(CANARY) == "beacon-inference:v2"
    for kind in ("lease", "configmap"):
        assert world.plane.read(kind, "beacon-promotion", world.namespace)
    target.release(NEW)
    assert target.serving() == Release(NEW)

    # No object of Git changes any more, whatever its manager: a field that is fought over would.
    world.settled()
    before_all = world.versions()
    assert len(before_all) > 40
    for _ in range(SYNCS):
        world.syncer.sync(git)
    assert {key for key, version in world.versions().items() if before_all[key] != version} == set()
    if isinstance(world.syncer, Application):
        # Nor has Argo CD anything left to do: what it found changed it would apply again and again.
        until(world.syncer.is_synced, f"{world.syncer.out_of_sync()} is as in Git")


def test_the_annotation_is_promotions_field_alone(at_work: World) -> None:
    at_work.target.release(OLD)
    at_work.syncer.sync(at_work.git)
    shown = at_work.plane.kubectl(
        "get", "deployment", MAIN, "--show-managed-fields", "-o", "json", namespace=at_work.namespace
    )
    field = f"f:{RELEASE}"
    managers = json.loads(shown)["metadata"]["managedFields"]
    assert {each["manager"] for each in managers if field in json.dumps(each)} == {"beacon-promotion"}


def test_a_tool_that_replaces_objects_is_seen(
    plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one thing that takes the model away, as docs/how-to/gitops.md says; and so the test above would see it."""
    world = _world("replacing", plane, tmp_path, monkeypatch)
    by_flux = syncer("flux", plane, world.namespace, tmp_path / "product.json")
    with world.kubelet.at_work():
        by_flux.sync(world.git)
        world.target.release(OLD)
        by_flux.sync(world.git)
        assert world.target.serving() == Release(OLD)
        world.syncer.sync(world.git)
        assert world.target.serving() is None
        # Promotion's next run gives the last good model again.
        world.target.restore(OLD)
        assert world.target.serving() == Release(OLD)
