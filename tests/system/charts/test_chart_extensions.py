"""Each chart's extension points: every pod or object that one is for honours it, and none has it where it is empty."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.rendering import containers, documents_of, pods, rendered, template

from beacon_core.platform.settings import ROOT
from tools.deploy import RELEASES
from tools.schema import read

SERVES = frozenset({"inference", "feature-serving", "console", "platform", "monitoring"})
"""Charts with pods that stay."""
HAS_SERVICE = frozenset({"inference", "feature-serving", "console"})
"""Charts whose Service people reach from elsewhere."""
Document = dict[str, Any]
Check = Callable[[str, list[Document]], None]


def render(chart: str, values: Document) -> list[Document]:
    given = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
    done = template(chart, "--values", f"charts/{chart}/ci/default-values.yaml", *given)
    assert done.returncode == 0, done.stderr
    return documents_of(done.stdout)


def specs(documents: list[Document]) -> list[Document]:
    found = [spec for _, spec in pods(documents)]
    assert found
    return found


def own(chart: str, spec: Document) -> list[Document]:
    """The containers of the chart itself."""
    return [container for container in containers(spec) if not container["name"].startswith("their")]


def hooked(document: Document) -> bool:
    return "helm.sh/hook" in document["metadata"].get("annotations", {})


def account(chart: str, documents: list[Document]) -> None:
    (made,) = [each for each in documents if each["kind"] == "ServiceAccount"]
    assert made["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}
    assert made["automountServiceAccountToken"] is False
    for document in documents:
        for _, spec in pods([document]):
            # A hook before the installation cannot have an account that is not there yet.
            early = hooked(document) and "pre-install" in document["metadata"]["annotations"]["helm.sh/hook"]
            assert spec.get("serviceAccountName") == (None if early else made["metadata"]["name"])


def existing_account(chart: str, documents: list[Document]) -> None:
    assert not [each for each in documents if each["kind"] == "ServiceAccount"]
    assert {spec["serviceAccountName"] for spec in specs(documents)} == {"theirs"}


def variables(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        for container in own(chart, spec):
            found = {variable["name"]: variable for variable in container["env"]}
            assert found["THEIR_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "theirs", "key": "token"}}
            assert found["THEIR_IP"]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
            assert found["BEACON_LOG_LEVEL"] == {"name": "BEACON_LOG_LEVEL", "value": "ERROR"}
            assert len(found) == len(container["env"])


def sources(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        for container in own(chart, spec):
            assert {"secretRef": {"name": "theirs"}} in container["envFrom"]


def volumes(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        assert {"name": "theirs", "secret": {"secretName": "theirs"}} in spec["volumes"]
        for container in own(chart, spec):
            assert {"name": "theirs", "mountPath": "/etc/theirs"} in container["volumeMounts"]


def init_container(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        (found,) = [one for one in spec["initContainers"] if one["name"] == "theirs"]
        assert found["image"] == "example.com/theirs:1"
        assert found["restartPolicy"] == "Always"
        assert found["securityContext"]["readOnlyRootFilesystem"] is False
        assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        # It comes first: what the others need of it is there then.
        assert spec["initContainers"][0] == found


def container(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        found = [one for one in spec["containers"] if one["name"] == "theirs"]
        # A job would wait for its end for ever.
        assert len(found) == (0 if spec.get("restartPolicy") == "Never" else 1)
        assert all(one["securityContext"]["allowPrivilegeEscalation"] is False for one in found)


def pod_labels(chart: str, documents: list[Document]) -> None:
    for labels, _ in pods(documents):
        assert labels["team"] == "pricing"
    for document in documents:
        assert "team" not in document["metadata"].get("labels", {}) or document["kind"] == "Pod"
        assert "team" not in json.dumps(document.get("spec", {}).get("selector", {}))


def pod_annotations(chart: str, documents: list[Document]) -> None:
    for document in documents:
        template_of = document.get("spec", {}).get("template") or document.get("spec", {}).get("jobTemplate", {}).get(
            "spec", {}
        ).get("template")
        if template_of is not None:
            assert template_of["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"


def common_labels(chart: str, documents: list[Document]) -> None:
    for document in documents:
        assert document["metadata"]["labels"]["cost-centre"] == "17", document["metadata"]["name"]
        assert "cost-centre" not in json.dumps(document.get("spec", {}).get("selector", {}))
    for labels, _ in pods(documents):
        assert labels["cost-centre"] == "17"


def any_user(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        context = spec["securityContext"]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()
        # What the restricted standard asks for is still said.
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def pod_security(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        assert spec["securityContext"]["fsGroup"] == 7
        assert spec["securityContext"]["supplementalGroups"] == [8]
        assert spec["securityContext"]["runAsNonRoot"] is True


def container_security(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        for one in containers(spec):
            assert one["securityContext"]["readOnlyRootFilesystem"] is False
            assert one["securityContext"]["allowPrivilegeEscalation"] is False


def disk(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        for one in containers(spec):
            assert one["resources"]["requests"]["ephemeral-storage"] == "7Mi"
            assert "cpu" in one["resources"]["requests"]


def no_disk(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        for one in containers(spec):
            assert "ephemeral-storage" not in one["resources"]["requests"]


def spread(chart: str, documents: list[Document]) -> None:
    for labels, spec in pods(documents):
        (zone, node) = spec["topologySpreadConstraints"]
        assert (zone["topologyKey"], zone["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "DoNotSchedule")
        assert zone["labelSelector"]["matchLabels"].items() <= labels.items()
        assert node["labelSelector"] == {"matchLabels": {"mine": "yes"}}


def scheduling(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        assert spec["priorityClassName"] == "high"
        assert spec["nodeSelector"] == {"pool": "beacon"}
        assert spec["tolerations"] == [{"key": "pool", "operator": "Exists"}]
        assert spec["affinity"] == {"nodeAffinity": {"x": []}}


def pull_secrets(chart: str, documents: list[Document]) -> None:
    for spec in specs(documents):
        assert spec["imagePullSecrets"] == [{"name": "registry"}]


def service(chart: str, documents: list[Document]) -> None:
    found = {each["metadata"]["name"]: each for each in documents if each["kind"] == "Service"}
    public, other = found[f"beacon-{chart}"], found[f"beacon-{chart}-pods"]
    assert public["metadata"]["annotations"] == {"example.com/lb": "internal"}
    assert public["spec"]["type"] == "LoadBalancer"
    assert public["spec"]["loadBalancerClass"] == "example.com/lb"
    assert public["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    # Metrics are nobody's outside.
    assert [port["name"] for port in public["spec"]["ports"]] == ["http"]
    assert other["spec"]["clusterIP"] == "None"
    assert [port["name"] for port in other["spec"]["ports"]] == ["metrics"]


ACCOUNT = {"create": True, "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}}
THEIRS = {"name": "theirs", "image": "example.com/theirs:1"}
ENV = [
    {"name": "THEIR_TOKEN", "valueFrom": {"secretKeyRef": {"name": "theirs", "key": "token"}}},
    {"name": "THEIR_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    {"name": "BEACON_LOG_LEVEL", "value": "ERROR"},
]
VOLUMES = {
    "extraVolumes": [{"name": "theirs", "secret": {"secretName": "theirs"}}],
    "extraVolumeMounts": [{"name": "theirs", "mountPath": "/etc/theirs"}],
}
ZONES = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
NODES = {
    "maxSkew": 2,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": {"mine": "yes"}},
}
PLACE = {
    "priorityClassName": "high",
    "nodeSelector": {"pool": "beacon"},
    "tolerations": [{"key": "pool", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"x": []}},
}
BALANCER = {
    "type": "LoadBalancer",
    "annotations": {"example.com/lb": "internal"},
    "loadBalancerClass": "example.com/lb",
    "loadBalancerSourceRanges": ["10.0.0.0/8"],
}
NATIVE = THEIRS | {"restartPolicy": "Always", "securityContext": {"readOnlyRootFilesystem": False}}
POINTS: dict[str, tuple[Document, Check]] = {
    "a service account": ({"serviceAccount": ACCOUNT}, account),
    "an existing service account": ({"serviceAccount": {"create": False, "name": "theirs"}}, existing_account),
    "variables": ({"extraEnv": ENV}, variables),
    "sources of variables": ({"envFrom": [{"secretRef": {"name": "theirs"}}]}, sources),
    "volumes": (VOLUMES, volumes),
    "an init container": ({"extraInitContainers": [NATIVE]}, init_container),
    "a container": ({"extraContainers": [THEIRS]}, container),
    "labels of pods": ({"podLabels": {"team": "pricing"}}, pod_labels),
    "annotations of pods": ({"podAnnotations": {"sidecar.istio.io/inject": "false"}}, pod_annotations),
    "common labels": ({"commonLabels": {"cost-centre": "17"}}, common_labels),
    "any user": ({"fixedUser": False}, any_user),
    "a pod's security": ({"podSecurityContext": {"fsGroup": 7, "supplementalGroups": [8]}}, pod_security),
    "a container's security": ({"containerSecurityContext": {"readOnlyRootFilesystem": False}}, container_security),
    "disk": ({"ephemeralStorage": "7Mi"}, disk),
    "no disk": ({"ephemeralStorage": ""}, no_disk),
    "spreading": ({"topologySpreadConstraints": [ZONES, NODES]}, spread),
    "scheduling": (PLACE, scheduling),
    "pull secrets": ({"imagePullSecrets": [{"name": "registry"}]}, pull_secrets),
    "pull secrets of all charts": ({"global": {"imagePullSecrets": [{"name": "registry"}]}}, pull_secrets),
    "a Service": ({"service": BALANCER}, service),
}
ONLY = {"a container": SERVES, "a Service": HAS_SERVICE}
"""Points that not every chart has, and which do."""
CASES = [(chart, point) for point in POINTS for chart in RELEASES if chart in ONLY.get(point, RELEASES)]


@pytest.mark.parametrize(("chart", "point"), CASES)
def test_every_chart_honours_every_point(chart: str, point: str) -> None:
    values, check = POINTS[point]
    check(chart, render(chart, values))


@pytest.mark.parametrize(("chart", "point"), CASES)
def test_each_check_fails_where_the_values_say_nothing(chart: str, point: str) -> None:
    with pytest.raises((AssertionError, KeyError, ValueError, IndexError)):
        POINTS[point][1](chart, rendered(chart, "default-values.yaml"))


@pytest.mark.parametrize("chart", RELEASES)
def test_the_values_of_each_chart_have_every_point(chart: str) -> None:
    there = {value.path[0] for value in read(ROOT / "charts" / chart / "values.yaml")}
    for point, (values, _) in POINTS.items():
        for name in values.keys() - {"global"}:
            assert (name in there) == (chart in ONLY.get(point, RELEASES)), (chart, name)


@pytest.mark.parametrize("chart", RELEASES)
@pytest.mark.parametrize("name", ["commonLabels", "podLabels"])
@pytest.mark.parametrize("label", ["app.kubernetes.io/name", "app.kubernetes.io/instance", "reach.beacon/postgresql"])
def test_no_label_of_beacons_own_is_replaced(chart: str, name: str, label: str) -> None:
    values = f"--values=charts/{chart}/ci/default-values.yaml"
    done = template(chart, values, f"--set-json={name}={json.dumps({label: 'x'})}")
    assert done.returncode != 0
    assert f"invalid propertyName '{label}'" in done.stderr


@pytest.mark.parametrize("chart", ["inference", "feature-serving", "console"])
def test_pods_spread_over_nodes_and_zones_where_values_say_nothing(chart: str) -> None:
    (spec,) = [
        spec for labels, spec in pods(rendered(chart, "default-values.yaml")) if "terminationGracePeriodSeconds" in spec
    ]
    keys = [one["topologyKey"] for one in spec["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
