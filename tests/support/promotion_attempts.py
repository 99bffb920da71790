"""What promotion's account tries on inference's release: what it needs, and what nobody should get by its token."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import msgspec
from support.account_attempts import BY_ROLE, Attempt, Document
from support.pod_shapes import REACH, first, log_of, pod_shapes

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release
from beacon_promotion.targets.kubernetes.pods import RELEASE, dark_pod
from tools.deploy import Cluster

INFERENCE, CANARY, DARK = "beacon-inference", "beacon-inference-canary", "beacon-inference-dark-0"
KINDS = "service,ingress,networkpolicy,poddisruptionbudget,configmap"
PRODUCT = f"{INFERENCE}-product"
FOREIGN = "beacon-promotion-product"
"""A ConfigMap of the namespace that is not promotion's to change."""
WORKLOADS = ("Job", "CronJob", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController")
OTHERS = (
    "Secret",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "Ingress",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "Endpoints",
)
Change = Callable[[Document], Any]


class World(NamedTuple):
    """Inference's release, as an administrator reads it."""

    deployment: Document
    others: list[Document]

    @property
    def template(self) -> Document:
        """That of its pods."""
        template: Document = self.deployment["spec"]["template"]
        return template

    @property
    def pin(self) -> Pin:
        """The model that it serves."""
        annotation = self.template["metadata"]["annotations"][RELEASE]
        return msgspec.json.decode(annotation, type=Release).model


def read_world(cluster: Cluster) -> World:
    """The release as it is now."""
    deployment = json.loads(cluster.kubectl("get", "deployment", INFERENCE, "-o", "json"))
    release = ("--selector=app.kubernetes.io/name in (inference, prediction-log)", "-o", "json")
    found = json.loads(cluster.kubectl("get", KINDS, *release))["items"]
    # Not every cluster knows the kind.
    found += json.loads(cluster.kubectl("get", "httproute", *release, check=False) or '{"items": []}')["items"]
    ours = [item for item in found if item["kind"] != "ConfigMap" or item["metadata"]["name"] == PRODUCT]
    return World(deployment, ours)


def unchanged(_: Document) -> None:
    """No change."""


def dark(world: World, change: Change = unchanged, name: str = DARK) -> Document:
    """The dark pod that promotion makes, changed."""
    pod = dark_pod(name, world.pin, world.template)
    change(pod)
    return pod


def rolled(world: World, change: Change) -> Document:
    """A patch of inference's Deployment: its pods' template, changed."""
    template = deepcopy(world.template)
    change(template)
    return {"kind": "Deployment", "metadata": {"name": INFERENCE}, "spec": {"template": template}}


def deployed(world: World, change: Change = unchanged, name: str = CANARY) -> Document:
    """The canary that Helm makes, its pods' template changed."""
    spec = deepcopy(world.deployment["spec"])
    instance = {"app.kubernetes.io/instance": name}
    spec["selector"]["matchLabels"] |= instance
    spec["template"]["metadata"]["labels"] |= instance
    change(spec["template"])
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def needed(world: World) -> list[Attempt]:
    """What promotion does: every one of these has to be admitted."""
    release = {RELEASE: json.dumps({"model": {"name": "x", "version": "2", "sha256": "0" * 64}})}
    repository = first(world.template)["image"].partition("@")[0].rpartition(":")[0]
    setting = {"name": "BEACON_ACCESS_LOG", "value": "false"}
    changes: dict[str, Change] = {
        "a new model": lambda it: it["metadata"]["annotations"].update(release),
        "an older image": lambda it: first(it).update(image=f"{repository}:0.0.1"),
        "an image by its digest": lambda it: first(it).update(image=f"{repository}@sha256:{'0' * 64}"),
        "an older setting": lambda it: first(it)["env"].append(setting),
        "no claim": without_claims,
    }
    selector = {"app.kubernetes.io/name": "inference", "app.kubernetes.io/instance": CANARY}
    service = {"selector": selector, "ports": [{"name": "http", "port": 8080, "targetPort": "http"}]}
    history = {"name": f"sh.helm.release.v1.{INFERENCE}.v99", "labels": {"owner": "helm", "name": INFERENCE}}
    notes = {"name": "beacon-promotion"}
    return [
        Attempt("a dark pod", "create", dark(world)),
        Attempt("the other dark pod", "create", dark(world, name="beacon-inference-dark-1")),
        *(Attempt(what, "patch", rolled(world, change)) for what, change in changes.items()),
        Attempt("the canary", "create", deployed(world)),
        Attempt("the canary's Service", "create", {"kind": "Service", "metadata": {"name": CANARY}, "spec": service}),
        Attempt("Helm's next revision", "create", {"kind": "ConfigMap", "metadata": history}),
        Attempt("its notes", "create", {"kind": "ConfigMap", "metadata": notes}),
        Attempt("the lock", "create", {"kind": "Lease", "metadata": notes, "spec": {}}),
        *(
            Attempt(f"{item['kind']} {item['metadata']['name']} as it is", "patch", as_it_is(item))
            for item in world.others
        ),
    ]


def without_claims(template: Document) -> None:
    """As a rollback to values without `packagesClaim` renders it."""
    spec = template["spec"]
    claims = {volume["name"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume}
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] not in claims]
    for container in [*spec["containers"], *spec["initContainers"]]:
        container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] not in claims]


def as_it_is(item: Document) -> Document:
    """A patch that changes no more than another chart's version does."""
    kept: Document = {key: item[key] for key in ("spec", "data") if key in item}
    return changed(item["kind"], item["metadata"]["name"], kept, labels={"helm.sh/chart": "inference-9.9.9"})


def changed(kind: str, name: str, content: Document, **metadata: Any) -> Document:
    """A patch of one object."""
    return {"kind": kind, "metadata": {"name": name, **metadata}, **content}


def not_needed(world: World) -> list[Attempt]:
    """What it does not do: every one of these has to be refused."""
    return [*_pods(world), *_objects(world), *_rights(world)]


def _pods(world: World) -> list[Attempt]:
    attempts = []
    for what, (change, refusal) in pod_shapes(world.template).items():
        attempts.append(Attempt(f"dark: {what}", "create", dark(world, change), refusal))
        attempts.append(Attempt(f"inference: {what}", "patch", rolled(world, change), refusal))
        attempts.append(Attempt(f"canary: {what}", "create", deployed(world, change), refusal))
    secret = {variable["name"]: variable for variable in log_of(world.template)["env"]}["PGPASSWORD"]
    return [
        *attempts,
        Attempt(
            "dark: inference's Secret",
            "create",
            dark(world, lambda it: first(it)["env"].append(secret)),
            "of its login to MLflow alone",
        ),
        Attempt(
            "dark: found by inference's Service",
            "create",
            dark(world, _labelled({"app.kubernetes.io/name": "inference"})),
            REACH,
        ),
        Attempt(
            "dark: a label of one's own", "create", dark(world, _labelled({"app.kubernetes.io/instance": "x"})), REACH
        ),
        Attempt(
            "dark: reaches PostgreSQL", "create", dark(world, _labelled({"reach.beacon/postgresql": "true"})), REACH
        ),
        Attempt("a pod of another name", "create", dark(world, name="stranger"), "makes dark pods"),
        Attempt("another Deployment", "create", deployed(world, name="beacon-console"), "no other Deployment"),
        Attempt("inference anew", "create", deployed(world, name=INFERENCE), "no other Deployment"),
    ]


def _labelled(labels: dict[str, str]) -> Change:
    return lambda pod: pod["metadata"]["labels"].update(labels)


def _objects(world: World) -> list[Attempt]:
    config = "no other ConfigMap"
    forged = f"sh.helm.release.v1.{INFERENCE}.v1-x"
    outside = {"spec": {"type": "LoadBalancer"}}
    away = {"spec": {"selector": {"app.kubernetes.io/name": "console"}}}
    port = {"ports": [{"port": 80}], "selector": {"app.kubernetes.io/name": "inference"}}
    attempts = [
        Attempt("another ConfigMap", "create", changed("ConfigMap", "other", {}), config),
        Attempt("inference's product anew", "create", changed("ConfigMap", PRODUCT, {}), config),
        Attempt("no revision of Helm", "create", changed("ConfigMap", forged, {}), config),
        Attempt("a ConfigMap of others changed", "patch", changed("ConfigMap", FOREIGN, {"data": {"a": "b"}}), config),
        Attempt("a ConfigMap of others removed", "delete", changed("ConfigMap", FOREIGN, {}), config),
        Attempt("inference's product removed", "delete", changed("ConfigMap", PRODUCT, {}), config),
        Attempt("another Lease", "create", changed("Lease", "other", {}), "no other"),
        Attempt("another Service", "create", changed("Service", "other", {"spec": port}), "changes no Service but"),
        Attempt(
            "a canary from outside",
            "create",
            changed("Service", CANARY, {"spec": port | outside["spec"]}),
            "changes no Service but",
        ),
        Attempt(
            "a canary of others",
            "create",
            changed("Service", CANARY, {"spec": port | away["spec"]}),
            "changes no Service but",
        ),
        Attempt("inference from outside", "patch", changed("Service", INFERENCE, outside), "changes no Service but"),
        Attempt(
            "inference's Service elsewhere", "patch", changed("Service", INFERENCE, away), "changes no Service but"
        ),
    ]
    note = {"nginx.ingress.kubernetes.io/configuration-snippet": "deny all;"}
    for item in world.others:
        kind, name = item["kind"], item["metadata"]["name"]
        specs = {
            "Ingress": {"rules": [{"host": "other.example"}]},
            "NetworkPolicy": {"egress": [{}]},
            "PodDisruptionBudget": {"maxUnavailable": 9},
        }
        if kind in specs:
            refusal = "no policy, route or scaling"
            attempts.append(Attempt(f"{kind} changed", "patch", changed(kind, name, {"spec": specs[kind]}), refusal))
            attempts.append(Attempt(f"{kind} annotated", "patch", changed(kind, name, {}, annotations=note), refusal))
        if kind == "HTTPRoute":
            attempts += _routes(item)
    return attempts


def _routes(route: Document) -> list[Attempt]:
    name, rules = route["metadata"]["name"], route["spec"]["rules"]
    backend = {"name": "beacon-console", "port": 8090}
    there = {"name": INFERENCE, "port": 8080, "namespace": "kube-system"}
    every = {"path": {"type": "PathPrefix", "value": "/"}}
    specs: dict[str, Document] = {
        "to the console": {"rules": [rules[0] | {"backendRefs": [backend]}]},
        "to another namespace": {"rules": [rules[0] | {"backendRefs": [there]}]},
        "from other paths": {"rules": [rules[0] | {"matches": [every]}]},
        "from other hosts": {"hostnames": ["other.example"]},
        "with another time": {"rules": [rules[0] | {"timeouts": {"request": "1s"}}]},
        "with one rule more": {"rules": [*rules, rules[0]]},
    }
    weights = [{"name": INFERENCE, "port": 8080, "weight": 80}, {"name": CANARY, "port": 8080, "weight": 20}]
    split = {"rules": [rules[0] | {"backendRefs": weights}]}
    return [
        Attempt("a canary's weight", "patch", changed("HTTPRoute", name, {"spec": split})),
        *(
            Attempt(f"a route {what}", "patch", changed("HTTPRoute", name, {"spec": spec}), "changes the weights")
            for what, spec in specs.items()
        ),
    ]


def _rights(world: World) -> list[Attempt]:
    """What the Role alone refuses."""
    spec = {"template": {"spec": dark(world)["spec"]}}
    return [
        *(Attempt(f"a {kind}", "create", changed(kind, "x", {"spec": spec}), BY_ROLE) for kind in WORKLOADS),
        *(Attempt(f"a {kind}", "create", changed(kind, "x", {}), BY_ROLE) for kind in OTHERS),
        Attempt(
            "the console changed", "patch", changed("Deployment", "beacon-console", {"spec": {"replicas": 0}}), BY_ROLE
        ),
        Attempt("inference removed", "delete", changed("Deployment", INFERENCE, {}), BY_ROLE),
        Attempt("a pod of others removed", "delete", changed("Pod", "beacon-postgresql-0", {}), BY_ROLE),
        Attempt("inference's Service removed", "delete", changed("Service", INFERENCE, {}), BY_ROLE),
    ]


def without_rights(world: World) -> list[Attempt]:
    """What an account without any right tries: all of it is refused by that."""
    return [attempt._replace(refusal=BY_ROLE) for attempt in (*needed(world), *_rights(world))]
