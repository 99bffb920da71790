"""What the cluster's target decides from what it reads: Helm's history, two renderings, a Deployment's template."""

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release
from beacon_promotion.targets.kubernetes import helm_target as cluster
from beacon_promotion.targets.kubernetes.helm import Revision, _revision, documents
from beacon_promotion.targets.kubernetes.names import DARK
from beacon_promotion.targets.kubernetes.pods import dark_pod, is_ready, is_terminating, release_of

OLD, NEW = Pin("boston-housing", "1", "a" * 64), Pin("boston-housing", "2", "b" * 64)


def deployment(name: str, release: Release, replicas: int = 2) -> dict[str, Any]:
    annotations = {"beacon/release": json.dumps(json_of(release))}
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": []}}
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas, "template": template}}


def json_of(release: Release) -> dict[str, Any]:
    pins = {"model": release.model, "shadow": release.shadow}
    return {role: {"name": pin.name, "version": pin.version, "sha256": pin.sha256} for role, pin in pins.items() if pin}


def manifest(model: Pin, canary: Release | None = None, replicas: int = 2) -> str:
    found = [deployment("beacon-inference", Release(model), replicas)]
    if canary is not None:
        found.append(deployment("beacon-inference-canary", canary, 1))
    return yaml.safe_dump_all(found)


def revision(number: int, status: str, model: Pin, canary: Release | None = None, *, done: bool = True) -> Revision:
    values = {"model": {"version": model.version}}
    return Revision(number, status, values, manifest(model, canary), datetime.now(UTC), done)


def test_a_revision_is_read_as_helm_keeps_it() -> None:
    release = {
        "version": 7,
        "config": {"model": {"version": "1"}},
        "manifest": manifest(OLD),
        "info": {
            "status": "pending-upgrade",
            "description": "Preparing upgrade",
            "last_deployed": "2026-11-25T18:00:00.123456789Z",
        },
    }
    data = base64.b64encode(gzip.compress(json.dumps(release).encode())).decode()
    found = _revision({"data": {"release": data}})
    assert (found.number, found.pending, found.values) == (7, True, {"model": {"version": "1"}})
    assert not found.done
    assert found.begun == datetime(2026, 11, 25, 18, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Z", "+02:00"])
def test_a_time_of_helm_is_read_in_any_zone(zone: str) -> None:
    release = {"version": 1, "info": {"status": "deployed", "last_deployed": f"2026-11-25T18:00:00{zone}"}}
    data = base64.b64encode(gzip.compress(json.dumps(release).encode())).decode()
    assert _revision({"data": {"release": data}}).begun.tzinfo is not None


def test_the_last_clean_revision_had_no_canary_and_did_not_fail() -> None:
    first = revision(1, "superseded", OLD)
    history = [
        revision(5, "pending-upgrade", NEW),
        revision(4, "failed", NEW),
        revision(3, "deployed", OLD, Release(NEW)),
        revision(2, "superseded", OLD, Release(OLD, NEW)),
        first,
    ]
    assert cluster._last_clean(history) == first
    assert cluster._last_clean(history[:4]) is None
    kept = revision(6, "deployed", NEW)
    assert cluster._last_clean([kept, *history]) == kept
    # Helm calls a failed revision superseded once a rollback follows it.
    failed = revision(5, "superseded", NEW, done=False)
    assert cluster._last_clean([revision(6, "failed", OLD, done=False), failed, first]) == first


def test_a_shadow_is_what_the_canary_asks_beside_the_model_in_service() -> None:
    assert cluster._release(revision(1, "deployed", OLD)) == Release(OLD)
    assert cluster._release(revision(2, "deployed", OLD, Release(OLD, NEW))) == Release(OLD, NEW)
    assert cluster._release(revision(3, "deployed", OLD, Release(NEW))) == Release(OLD)


def test_a_change_of_model_is_no_other_change() -> None:
    assert cluster.other_changes(documents(manifest(OLD)), documents(manifest(NEW))) == []


def test_every_other_change_is_named_with_its_place() -> None:
    more = cluster.other_changes(documents(manifest(OLD)), documents(manifest(NEW, replicas=3)))
    assert more == ["Deployment beacon-inference: spec.replicas"]
    both = documents(manifest(NEW, Release(NEW)))
    assert cluster.other_changes(documents(manifest(OLD)), both) == [
        "Deployment beacon-inference-canary would be added"
    ]
    assert cluster.other_changes(both, documents(manifest(OLD))) == [
        "Deployment beacon-inference-canary would be removed"
    ]
    changed = documents(manifest(NEW))
    changed["Deployment", "beacon-inference"]["spec"]["template"]["spec"]["containers"] = [{"image": "x"}]
    found = cluster.other_changes(documents(manifest(OLD)), changed)
    assert found == ["Deployment beacon-inference: spec.template.spec.containers"]


def test_a_rollback_brings_back_pods_and_product_but_no_route_or_policy() -> None:
    def holding(model: Pin, *documents: dict[str, Any], replicas: int = 2) -> Revision:
        text = f"{manifest(model, replicas=replicas)}---\n{yaml.safe_dump_all(documents)}"
        return Revision(1, "superseded", {}, text, datetime.now(UTC), True)

    def some(kind: str, content: object) -> dict[str, Any]:
        return {"kind": kind, "metadata": {"name": "beacon-inference"}, "spec": content}

    before = (some("Ingress", 1), some("ConfigMap", 1))
    back = holding(OLD, *before)
    assert not cluster.changes_held(holding(NEW, *before, replicas=3), back)
    assert not cluster.changes_held(holding(NEW, before[0], some("ConfigMap", 2)), back)
    for kind in ("Ingress", "NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler", "HTTPRoute", "Service"):
        there = (*before, some(kind, 3))
        assert cluster.changes_held(holding(NEW, *there), back), kind
        assert cluster.changes_held(holding(NEW, *there), holding(OLD, *before, some(kind, 4))), kind


@pytest.mark.parametrize(("changed", "way"), [("ConfigMap", "roll back to 1"), ("Ingress", "release 1")])
def test_a_changed_route_stays_and_the_old_model_comes(changed: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(number: int, status: str, model: Pin) -> Revision:
        more = {"kind": changed, "metadata": {"name": "beacon-inference"}, "spec": number}
        text = f"{manifest(model)}---\n{yaml.safe_dump(more)}"
        return Revision(number, status, {}, text, datetime.now(UTC), True)

    history, done = [one(2, "deployed", NEW), one(1, "superseded", OLD)], []
    target = object.__new__(cluster.HelmTarget)
    monkeypatch.setattr(target, "_history", lambda: history)
    monkeypatch.setattr(target, "_roll_back", lambda back: done.append(f"roll back to {back.number}"))
    monkeypatch.setattr(target, "release", lambda pin: done.append(f"release {pin.version}"))
    target.restore(OLD)
    assert done == [way]


def test_values_of_a_promotion_differ_in_the_model_alone() -> None:
    base = Revision(1, "deployed", {"replicas": 4, "model": {"name": "x", "version": "1"}}, "", datetime.now(UTC), True)
    values = cluster._values(base, NEW)
    assert values == {"replicas": 4, "model": {"name": "boston-housing", "version": "2", "sha256": "b" * 64}}
    assert base.values["model"]["version"] == "1"


def test_a_dark_pod_is_reached_by_nobody_and_knows_no_secret() -> None:
    secret = {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "beacon", "key": "p"}}}
    container = {
        "name": "inference",
        "env": [
            secret,
            {"name": "BEACON_SPOOL", "value": "/s"},
            {"name": "BEACON_API_KEYS_FILE", "value": "/etc/beacon-keys/keys.yaml"},
            {"name": "BEACON_CLOSED_SCOPES", "value": "predict"},
        ],
        "volumeMounts": [{"name": "spool", "mountPath": "/s"}, {"name": "keys", "mountPath": "/etc/beacon-keys"}],
        "lifecycle": {"preStop": {}},
    }
    labels = {"app.kubernetes.io/name": "inference", "reach.beacon/postgresql": "true"}
    claim = {"name": "spool", "persistentVolumeClaim": {"claimName": "spools"}}
    volumes = [claim, {"name": "keys", "secret": {"secretName": "clients"}}]
    fetch = {"name": "fetch-model", "env": []}
    shipper = {"name": "prediction-log", "restartPolicy": "Always", "env": [secret]}
    spec = {
        "initContainers": [fetch, shipper],
        "containers": [container],
        "topologySpreadConstraints": [{}],
        "securityContext": {"runAsNonRoot": True},
    }
    spec |= {"volumes": volumes}
    template = {"metadata": {"labels": labels, "annotations": {"a": "b", "beacon/release": "old"}}, "spec": spec}
    pod = dark_pod("beacon-inference-dark-0", NEW, template)
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == DARK
    assert "reach.beacon/postgresql" not in pod["metadata"]["labels"]
    assert release_of(pod) == Release(NEW)
    variables = {variable["name"]: variable.get("value") for variable in pod["spec"]["containers"][0]["env"]}
    assert variables == {
        "BEACON_SPOOL": "/s",
        "BEACON_ACCESS_LOG": "false",
    }
    assert pod["spec"]["volumes"] == [{"name": "spool", "emptyDir": {}}], "nobody ships what it logs"
    assert pod["spec"]["initContainers"] == [fetch]
    assert pod["spec"]["containers"][0]["volumeMounts"] == [{"name": "spool", "mountPath": "/s"}]
    assert pod["spec"]["activeDeadlineSeconds"] > 0
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["securityContext"] == {"runAsNonRoot": True}
    # The Deployment's own template is as it was.
    assert container["env"][0] == secret
    assert "topologySpreadConstraints" in spec


def test_a_pod_is_ready_until_it_is_told_to_end() -> None:
    ready: dict[str, Any] = {"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert is_ready(ready)
    assert not is_terminating(ready)
    assert not is_ready({"metadata": {}, "status": {}})
    assert is_terminating({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {}})
