"""Shapes of a pod that promotion has no need of: each a change of the pods that inference has, and what refuses it."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

Document = dict[str, Any]
Shape = tuple[Callable[[Document], Any], str]
ACCOUNT = "no service account of its own"
COMMAND = "runs inference's commands"
HARDENED = "as hardened as inference"
IMAGE = "inference's containers and image"
MOUNT = "mounts nothing over inference's code"
NODE = "shares nothing with the node"
REACH = "reaches nothing that inference does not reach"
SECRET = "no variable of a Secret"
VARIABLE = "those of inference, no other, and no envFrom"
LOG = "prediction-log"
VOLUME = "the claim and Secrets of inference, nothing else"
STOLEN = {"name": "beacon", "key": "postgresql-password"}


def first(pod: Document) -> Document:
    """The container that serves."""
    container: Document = pod["spec"]["containers"][0]
    return container


def init(pod: Document) -> Document:
    """The one that brings the model."""
    container: Document = pod["spec"]["initContainers"][0]
    return container


def log_of(pod: Document) -> Document:
    """The sidecar that ships the prediction log; a dark pod has none, and gets one that nothing holds."""
    found: list[Document] = [one for one in pod["spec"]["initContainers"] if one["name"] == LOG]
    if not found:
        found = [deepcopy(first(pod)) | {"name": LOG, "restartPolicy": "Always"}]
        pod["spec"]["initContainers"] += found
    return found[0]


def pod_shapes(template: Document) -> dict[str, Shape]:
    """The shapes by name; `template` is that of inference's pods, whose image some of them alter."""
    return _secrets() | _volumes() | _images(template) | _commands() | _nodes() | _accounts()


def _secrets() -> dict[str, Shape]:
    def variable(name: str) -> Document:
        return {"name": name, "valueFrom": {"secretKeyRef": STOLEN}}

    source = [{"secretRef": {"name": STOLEN["name"]}}]
    maps = [{"configMapRef": {"name": "other"}}]
    return {
        "envFrom of a Secret": (lambda pod: first(pod).update(envFrom=source), VARIABLE),
        "envFrom of a Secret in the init container": (lambda pod: init(pod).update(envFrom=source), VARIABLE),
        "envFrom of a ConfigMap": (lambda pod: first(pod).update(envFrom=maps), VARIABLE),
        "a variable of another Secret": (lambda pod: first(pod)["env"].append(variable("BEACON_X")), SECRET),
        "the same in the init container": (lambda pod: init(pod)["env"].append(variable("BEACON_X")), SECRET),
        "another Secret by inference's variable": (lambda pod: first(pod).update(env=[variable("PGPASSWORD")]), SECRET),
        "a library to load": (_with_variable("LD_PRELOAD", "/var/lib/beacon/models/x"), VARIABLE),
        "code to import": (_with_variable("PYTHONPATH", "/var/lib/beacon/models"), VARIABLE),
        "options of the server": (_with_variable("GUNICORN_CMD_ARGS", "--config=/tmp/x"), VARIABLE),
    }


def _with_variable(name: str, value: str) -> Callable[[Document], Any]:
    return lambda pod: first(pod)["env"].append({"name": name, "value": value})


def _volumes() -> dict[str, Shape]:
    secret = {"secret": {"name": STOLEN["name"]}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    sources: dict[str, Document] = {
        "a Secret": {"secret": {"secretName": STOLEN["name"]}},
        "a Secret, projected": {"projected": {"sources": [secret]}},
        "a Secret, projected beside the product": {
            "projected": {"sources": [{"configMap": {"name": "beacon-inference-product"}}, secret]}
        },
        "inference's Secret with all its keys": {"secret": {"secretName": "beacon-database-prediction-log"}},
        "a token, projected": {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        "another ConfigMap, projected": {"projected": {"sources": [{"configMap": {"name": "other"}}]}},
        "another ConfigMap": {"configMap": {"name": "other"}},
        "a Secret, by a CSI driver": {"csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": True}},
        "PostgreSQL's claim": {"persistentVolumeClaim": {"claimName": "data-beacon-postgresql-0"}},
        "a claim of its own": {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}},
        "the node's disk": {"hostPath": {"path": "/"}},
        "a share": {"nfs": {"server": "10.0.0.1", "path": "/"}},
    }

    def mounted(source: Document) -> Callable[[Document], Any]:
        return lambda pod: pod["spec"]["volumes"].append({"name": "more"} | source)

    def over(path: str) -> Callable[[Document], Any]:
        return lambda pod: first(pod)["volumeMounts"].append({"name": "tmp", "mountPath": path})

    return {what: (mounted(source), VOLUME) for what, source in sources.items()} | {
        "a volume over the code": (over("/app/jobs"), MOUNT),
        "a volume over the code, by a way round": (over("/tmp/../app/jobs"), MOUNT),
        "a volume over the accounts": (over("/etc/passwd"), MOUNT),
    }


def _images(template: Document) -> dict[str, Shape]:
    repository = first(template)["image"].partition("@")[0].rpartition(":")[0]
    more = {"name": "more", "image": first(template)["image"], "securityContext": first(template)["securityContext"]}
    ephemeral = {"name": "more", "image": first(template)["image"]}
    return {
        "another image": (lambda pod: first(pod).update(image="registry.example/miner:1"), IMAGE),
        "an image of a similar name": (lambda pod: first(pod).update(image=f"{repository}-x:1"), IMAGE),
        "an image below it": (lambda pod: first(pod).update(image=f"{repository}/x:1"), IMAGE),
        "the image from another registry": (lambda pod: first(pod).update(image=f"x.example/{repository}:1"), IMAGE),
        "another image in the init container": (lambda pod: init(pod).update(image="registry.example/miner:1"), IMAGE),
        "another image of the log's process": (lambda pod: log_of(pod).update(image="registry.example/miner:1"), IMAGE),
        "inference's image in its place": (lambda pod: log_of(pod).update(image=first(pod)["image"]), IMAGE),
        "one more container": (lambda pod: pod["spec"]["containers"].append(more), IMAGE),
        "one more init container": (lambda pod: pod["spec"]["initContainers"].append(more), IMAGE),
        "an ephemeral container": (lambda pod: pod["spec"].update(ephemeralContainers=[ephemeral]), "phemeral"),
    }


def _commands() -> dict[str, Shape]:
    shell = {"command": ["sh", "-c", "env"]}
    return {
        "another command": (lambda pod: first(pod).update(command=["python", "-c", "0"]), COMMAND),
        "arguments": (lambda pod: first(pod).update(args=["--help"]), COMMAND),
        "another command in the init container": (lambda pod: init(pod).update(shell), COMMAND),
        "another directory": (lambda pod: first(pod).update(workingDir="/var/lib/beacon/models"), COMMAND),
        "a probe that runs a program": (lambda pod: first(pod).update(livenessProbe={"exec": shell}), COMMAND),
        "a probe of another host": (
            lambda pod: first(pod).update(livenessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}),
            COMMAND,
        ),
        "a hook that runs a program": (
            lambda pod: first(pod).update(lifecycle={"postStart": {"exec": shell}}),
            COMMAND,
        ),
        "another hook": (lambda pod: first(pod).update(lifecycle={"preStop": {"exec": shell}}), COMMAND),
    }


def _nodes() -> dict[str, Shape]:
    def security(**settings: Any) -> Callable[[Document], Any]:
        return lambda pod: first(pod)["securityContext"].update(settings)

    def of_pod(**settings: Any) -> Callable[[Document], Any]:
        return lambda pod: pod["spec"]["securityContext"].update(settings)

    return {
        "the node's network": (lambda pod: pod["spec"].update(hostNetwork=True), NODE),
        "the node's processes": (lambda pod: pod["spec"].update(hostPID=True), NODE),
        "the node's memory": (lambda pod: pod["spec"].update(hostIPC=True), NODE),
        "a port of the node": (lambda pod: first(pod)["ports"][0].update(hostPort=80), NODE),
        "a node of its choice": (lambda pod: pod["spec"].update(nodeName="node"), NODE),
        "privileged": (security(privileged=True, allowPrivilegeEscalation=True), HARDENED),
        "more privileges later": (security(allowPrivilegeEscalation=True), HARDENED),
        "a capability": (security(capabilities={"add": ["NET_RAW"]}), HARDENED),
        "a root that is written": (security(readOnlyRootFilesystem=False), HARDENED),
        "root in one container": (security(runAsUser=0), HARDENED),
        "root": (of_pod(runAsNonRoot=False, runAsUser=0), HARDENED),
        "every system call": (of_pod(seccompProfile={"type": "Unconfined"}), HARDENED),
    }


def _accounts() -> dict[str, Shape]:
    return {
        "promotion's own account": (lambda pod: pod["spec"].update(serviceAccountName="beacon-promotion"), ACCOUNT),
        "the same by its old name": (lambda pod: pod["spec"].update(serviceAccount="beacon-promotion"), ACCOUNT),
        "a token": (lambda pod: pod["spec"].update(automountServiceAccountToken=True), ACCOUNT),
        "one arrow more": (lambda pod: pod["metadata"]["labels"].update({"reach.beacon/redis": "true"}), REACH),
    }
