"""The cluster as a target: inference's Deployment, whose annotation has the model and which nothing else writes.

Helm, Argo CD and Flux render the Deployment without that annotation, so their upgrades leave it as it is. A model is
tried on pods of its own before the others change: dark ones without any user, then a canary. That is a copy of the
Deployment, which promotion makes and removes, first in shadow beside the model in service, then for users.
"""

import time
from copy import deepcopy
from typing import Any

import msgspec
from kubernetes.client import AppsV1Api

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release
from beacon_core.platform.kubernetes import NOT_FOUND, ClusterError
from beacon_promotion.targets.base.target import ReleaseFailedError, TargetUnavailableError
from beacon_promotion.targets.kubernetes.helm import Document
from beacon_promotion.targets.kubernetes.names import BEACON, PART_OF, Names
from beacon_promotion.targets.kubernetes.on_cluster import SHADOW_SHARE, OnCluster, annotated
from beacon_promotion.targets.kubernetes.pods import RELEASE, is_ready, release_of

INSTANCE, MANAGED_BY = "app.kubernetes.io/instance", "app.kubernetes.io/managed-by"
ROLLOUT_SECONDS = 300.0
POLL_SECONDS = 0.5


class DeploymentTarget(OnCluster):
    """Inference's Deployment of one installation. Its users' share of a canary follows the number of pods."""

    releases_first = True

    def recover(self) -> list[str]:
        """Remove what an earlier run tried a model on; one sentence each."""
        done = [f"removed the dark pod {name}" for name in self._mapped(self._pods.remove_dark)]
        if self._remove_canary():
            done.append("removed the canary that was left over")
        return done

    def serving(self) -> Release | None:
        """What is released now; None where nothing is."""
        main = annotated(self._read(self._names.inference))
        if main is None:
            return None
        canary = annotated(self._read(self._names.canary))
        return Release(main.model, None if canary is None else canary.shadow)

    def check(self, before: Pin | None, after: Pin) -> None:  # noqa: ARG002 - nothing but the model is changed
        """Raise `ReleaseFailedError` unless `before` is in service, and its package is there to go back to."""
        now = annotated(self._main())
        if before is not None and (now is None or now.model != before):
            is_now = "nothing" if now is None else f"version {now.model.version}"
            text = f"{self._names.inference} serves {is_now}, and not version {before.version}"
            raise ReleaseFailedError("no_way_back", text)
        self._check_way_back(before)

    def shadow(self, pin: Pin | None) -> None:
        """Let a canary's pod answer with the model in service and ask `pin` in shadow; None removes the pod."""
        self._try(pin, shadow=True, share=SHADOW_SHARE)

    def canary(self, pin: Pin | None, share: float) -> None:
        """Let canary pods answer about `share` of the requests with `pin`; None removes them."""
        self._try(pin, shadow=False, share=share)

    def release(self, pin: Pin) -> None:
        """Let every pod serve `pin`; raises `ReleaseFailedError` when one does not.

        A first model that does not start is taken back: nothing is released then.
        """
        first = annotated(self._main()) is None
        try:
            self._serve(pin)
        except ReleaseFailedError:
            if first:
                self._patch(self._names.inference, _given(None))
            raise

    def restore(self, pin: Pin) -> None:
        """Give `pin` to every pod again; raises `ReleaseFailedError`."""
        self._serve(pin)

    def _serve(self, pin: Pin) -> None:
        self._remove_canary()
        if annotated(self._main()) != Release(pin):
            self._patch(self._names.inference, _given(Release(pin)))
        self._wait_until_rolled_out(self._names.inference, pin)
        self._mapped(lambda: self._pods.wait_until_all(lambda release: release == Release(pin)))

    def _try(self, pin: Pin | None, *, shadow: bool, share: float) -> None:
        if pin is None:
            self._remove_canary()
            return
        main = self._main()
        now = annotated(main)
        if now is None:
            text = f"{self._names.inference} serves nothing that a canary could stand beside"
            raise ReleaseFailedError("no_way_back", text)
        model = now.model
        ready = sum(is_ready(pod) and release_of(pod) == Release(model) for pod in self._mapped(self._pods.all))
        tried = Release(model, pin) if shadow else Release(pin)
        replicas = max(1, round(ready * share / (1 - share)))
        if self._read(self._names.canary) is None:
            self._hold()
            create = AppsV1Api(self._access.client()).create_namespaced_deployment
            body = canary_of(main, tried, replicas)
            self._mapped(lambda: self._access.call(create, body=body, field_manager=self._names.promotion))
        else:
            self._patch(self._names.canary, {"spec": _given(tried)["spec"] | {"replicas": replicas}})
        self._wait_until_rolled_out(self._names.canary, pin)
        self._mapped(lambda: self._pods.wait_until_all(lambda release: release in (Release(model), tried)))

    def _remove_canary(self) -> bool:
        """Remove the canary and wait until its pods are gone; whether there was one."""
        canary = self._read(self._names.canary)
        if canary is None:
            return False
        self._hold()
        remove = AppsV1Api(self._access.client()).delete_namespaced_deployment
        self._mapped(lambda: self._access.call(remove, name=self._names.canary, propagation_policy="Background"))
        selector = f"{self._names.serving},{INSTANCE}={canary['spec']['selector']['matchLabels'][INSTANCE]}"
        end = time.monotonic() + ROLLOUT_SECONDS
        while self._mapped(lambda: self._pods.all(selector)):
            if time.monotonic() > end:
                raise TargetUnavailableError(f"the pods of {self._names.canary} do not go")
            time.sleep(POLL_SECONDS)
        return True

    def _wait_until_rolled_out(self, name: str, pin: Pin) -> None:
        end = time.monotonic() + ROLLOUT_SECONDS
        while not is_rolled_out(self._main(name)):
            self._mapped(lambda: self._check(pin))
            if time.monotonic() > end:
                raise ReleaseFailedError("not_ready", f"{name} is not rolled out after {ROLLOUT_SECONDS:g} s")
            time.sleep(POLL_SECONDS)

    def _patch(self, name: str, body: Document) -> None:
        self._hold()
        patch = AppsV1Api(self._access.client("application/merge-patch+json")).patch_namespaced_deployment
        self._mapped(lambda: self._access.call(patch, name=name, body=body, field_manager=self._names.promotion))

    def _main(self, name: str = "") -> Document:
        name = name or self._names.inference
        found = self._read(name)
        if found is None:
            raise ReleaseFailedError("no_way_back", f"the Deployment {name} is not there")
        return found

    def _read(self, name: str) -> Document | None:
        read = AppsV1Api(self._access.client()).read_namespaced_deployment
        try:
            return self._access.call(read, name=name)
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return None
            raise TargetUnavailableError(str(error)) from error


def canary_of(main: Document, release: Release, replicas: int) -> Document:
    """A Deployment like the main one, with pods of its own that the same Service finds."""
    spec = deepcopy(main["spec"])
    own = spec["selector"]["matchLabels"][INSTANCE]
    track = f"{own}-canary"
    template: dict[str, Any] = spec["template"]
    spread = [one.get("labelSelector", {}) for one in template["spec"].get("topologySpreadConstraints", [])]
    for selector in (spec["selector"], *spread):
        if selector.get("matchLabels", {}).get(INSTANCE) == own:
            selector["matchLabels"][INSTANCE] = track
    template["metadata"]["labels"][INSTANCE] = track
    template["metadata"].setdefault("annotations", {}).update(_annotations(release))
    # The chart's labels are its pods', too. Those of the Deployment alone are how Argo CD and Flux know what is
    # theirs: they would prune a canary that has them and is not in Git.
    before = main["metadata"].get("labels", {})
    of_chart = template["metadata"]["labels"].keys()
    names = Names(before.get(PART_OF, BEACON.installation))
    labels = {name: value for name, value in before.items() if name in of_chart}
    labels |= {INSTANCE: track, MANAGED_BY: names.promotion}
    metadata = {"name": names.canary, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec | {"replicas": replicas}}


def is_rolled_out(deployment: Document) -> bool:
    """Whether all pods are those of the newest template, and available."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    counted = [status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")]
    return status.get("observedGeneration", 0) >= deployment["metadata"]["generation"] and counted == [wanted] * 3


def _given(release: Release | None) -> Document:
    """The patch that gives a release to a Deployment's pods; None takes it away."""
    return {"spec": {"template": {"metadata": {"annotations": _annotations(release)}}}}


def _annotations(release: Release | None) -> dict[str, str | None]:
    return {RELEASE: None if release is None else msgspec.json.encode(release).decode()}
