"""Inference's pods, one by one: which model each reports, why one serves none, and dark pods of promotion's own."""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import msgspec
from kubernetes.client import CoreV1Api

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release
from beacon_core.platform.kubernetes import NOT_FOUND, Access, ClusterError
from beacon_promotion.targets.base.refusals import NO_MODEL_YET, Refusal, of_log, of_pod, reason_of
from beacon_promotion.targets.base.target import Instance, ReleaseFailedError
from beacon_promotion.targets.kubernetes.names import BEACON, DARK, NAME, PART_OF, Names

DARK_SECONDS = 1800
"""Kubernetes ends a dark pod after this long, whatever became of the run that made it."""
DARK_OWN = {"BEACON_ACCESS_LOG": "false"}
"""The settings of a dark pod that differ from those of the pods that answer users."""
DARK_NOT = {"BEACON_FEATURES_URL", "BEACON_API_KEYS_FILE", "BEACON_CLOSED_SCOPES"}
"""Settings that a dark pod does not have: only promotion reaches it, and it needs no key there."""
SPOOL = "spool"
OWN_CONTAINERS = {"initContainers": {"fetch-model"}, "containers": {"inference"}}
"""Those of the chart itself that a dark pod has, too: nobody ships what it logs."""
LOGINS = {"MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"}
"""The one variable of a Secret that a dark pod has, of these: it reads packages where no volume has them."""
READY_SECONDS = 180
POLL_SECONDS = 0.5
ASK_SECONDS = 3.0
LOG_LINES = 500
RELEASE = "beacon/release"
HTTP, METRICS = 8080, 9090
Pod = dict[str, Any]


class Pods:
    """The pods of one installation's inference in the namespace of `access`."""

    def __init__(self, access: Access, names: Names = BEACON) -> None:
        self._access, self._names = access, names
        self._core = CoreV1Api(access.client())

    def all(self, selector: str = "") -> list[Pod]:
        """Those that the selector chooses, or all that answer users, and that have not ended, by name."""
        found = self._list(selector or self._names.serving)
        living = [pod for pod in found if pod["status"].get("phase") not in {"Succeeded", "Failed"}]
        return sorted(living, key=lambda pod: str(pod["metadata"]["name"]))

    def instances(self) -> list[Instance]:
        """Every pod that answers users."""
        return [instance_of(pod) for pod in self.all() if is_ready(pod) and not is_terminating(pod)]

    def refusal(self, pin: Pin) -> Refusal | None:
        """Why some pod that is to serve `pin`, or to ask it in shadow, does not; None while it may yet."""
        for pod in self.all():
            release = release_of(pod)
            asked = release is not None and pin in (release.model, release.shadow)
            if asked and not is_ready(pod) and (why := _why(pod)) is not None:
                return why
        return None

    def death(self, name: str) -> Refusal | None:
        """Why a container of the pod ended, or a dark one's worker; None where all live."""
        return of_pod(self._read(name)) or self._killed(name)

    def wait_until_all(self, wanted: Callable[[Release | None], bool], seconds: float = READY_SECONDS) -> None:
        """Wait until there are only ready pods of the wanted releases, none still ending.

        Raises `ReleaseFailedError`.
        """
        end = time.monotonic() + seconds
        while True:
            pods = self.all()
            others = [pod for pod in pods if is_terminating(pod) or not is_ready(pod) or not wanted(release_of(pod))]
            if pods and not others:
                return
            for pod in others:
                if wanted(release_of(pod)) and (why := _why(pod)) is not None:
                    raise ReleaseFailedError(why.reason, why.message)
            if time.monotonic() > end:
                names = ", ".join(pod["metadata"]["name"] for pod in others)
                raise ReleaseFailedError(
                    "not_ready", f"after {seconds:g} s these pods are not as they should be: {names}"
                )
            time.sleep(POLL_SECONDS)

    @contextmanager
    def dark(self, pins: Sequence[Pin], template: dict[str, Any]) -> Iterator[list[Instance]]:
        """Pods made of a Deployment's template, one per pin, that no user reaches; gone after the block."""
        self.remove_dark()
        try:
            names = [self._names.dark(number) for number in range(len(pins))]
            for name, pin in zip(names, pins, strict=True):
                self._access.call(self._core.create_namespaced_pod, body=dark_pod(name, pin, template))
            yield [self._when_ready(name) for name in names]
        finally:
            self.remove_dark()

    def remove_dark(self) -> list[str]:
        """Remove every dark pod and wait until it is gone; the names of those that there were."""
        selector = self._names.dark_pods
        names = [str(pod["metadata"]["name"]) for pod in self._list(selector)]
        for name in names:
            try:
                self._access.call(self._core.delete_namespaced_pod, name=name, grace_period_seconds=0)
            except ClusterError as error:
                if error.status != NOT_FOUND:
                    raise
        end = time.monotonic() + READY_SECONDS
        while self._list(selector):
            if time.monotonic() > end:
                raise ClusterError(f"pods {', '.join(names)} do not go")
            time.sleep(POLL_SECONDS)
        return names

    def _list(self, selector: str) -> list[Pod]:
        found: list[Pod] = self._access.call(self._core.list_namespaced_pod, label_selector=selector).get("items", [])
        return found

    def _read(self, name: str) -> Pod:
        return self._access.call(self._core.read_namespaced_pod, name=name)

    def _when_ready(self, name: str) -> Instance:
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            pod = self._read(name)
            if is_ready(pod):
                return instance_of(pod)
            if (why := _why(pod) or self._killed(name)) is not None:
                raise ReleaseFailedError(why.reason, why.message)
            time.sleep(POLL_SECONDS)
        raise ReleaseFailedError("not_ready", f"{name} is not ready after {READY_SECONDS} s")

    def _killed(self, name: str) -> Refusal | None:
        """Whether the log of a dark pod shows a worker that was killed; promotion may read no other pod's log."""
        if not name.startswith(self._names.dark("")):
            return None
        try:
            log = self._access.text(
                self._core.read_namespaced_pod_log, name=name, container="inference", tail_lines=LOG_LINES
            )
        except ClusterError as error:
            if error.status is None:
                raise
            return None  # it has none yet
        return of_log(name, log)


def dark_pod(name: str, pin: Pin, template: dict[str, Any]) -> Pod:
    """A dark pod like those of the template: no Service finds it, and it logs predictions to a file.

    Of the secrets it has one alone, the login that reads MLflow. It has nothing that values add to inference's pods: no
    service account, no other container, no variables of whole Secrets.
    """
    spec = deepcopy(template["spec"])
    for kept_by_deployments in ("topologySpreadConstraints", "affinity", "serviceAccountName", "serviceAccount"):
        spec.pop(kept_by_deployments, None)
    for kind, names in OWN_CONTAINERS.items():
        spec[kind] = [container for container in spec.get(kind, []) if container["name"] in names]
    spec |= {"restartPolicy": "Never", "activeDeadlineSeconds": DARK_SECONDS, "terminationGracePeriodSeconds": 1}
    secret = {volume["name"] for volume in spec.get("volumes", []) if "secret" in volume}
    # Its spool goes with it, and lies beside no other.
    own_spool = {"name": SPOOL, "emptyDir": {}}
    mine = [volume for volume in spec.get("volumes", []) if volume["name"] not in secret]
    spec["volumes"] = [own_spool if volume["name"] == SPOOL else volume for volume in mine]
    for container in spec["initContainers"]:
        container["env"] = [variable for variable in container.get("env", []) if _may_be_dark(variable)]
    for container in (*spec["initContainers"], *spec["containers"]):
        container.pop("envFrom", None)
    for container in spec["containers"]:
        container.pop("lifecycle", None)
        mounts = container.get("volumeMounts", [])
        container["volumeMounts"] = [mount for mount in mounts if mount["name"] not in secret]
        own = [variable for variable in container["env"] if _may_be_dark(variable)]
        kept = [variable for variable in own if variable["name"] not in {*DARK_OWN, *DARK_NOT}]
        container["env"] = [*kept, *({"name": name, "value": value} for name, value in DARK_OWN.items())]
    ours = Names(template["metadata"].get("labels", {}).get(PART_OF, BEACON.installation))
    labels = {
        NAME: DARK,
        PART_OF: ours.installation,
        "app.kubernetes.io/managed-by": ours.promotion,
        "reach.beacon/mlflow": "true",
    }
    annotations = template["metadata"].get("annotations", {}) | {RELEASE: msgspec.json.encode(Release(pin)).decode()}
    metadata = {"name": name, "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _may_be_dark(variable: dict[str, Any]) -> bool:
    return "valueFrom" not in variable or variable["name"] in LOGINS


def release_of(pod: Pod) -> Release | None:
    """What a pod, or those of a template, were made to serve; None where no model was given to them."""
    annotation = pod["metadata"].get("annotations", {}).get(RELEASE)
    return None if annotation is None else msgspec.json.decode(annotation, type=Release)


def is_terminating(pod: Pod) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def is_ready(pod: Pod) -> bool:
    """Whether Services send requests to it."""
    conditions = pod["status"].get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def instance_of(pod: Pod) -> Instance:
    """The pod as an instance with its own address; its pin is the one that it reports."""
    address = pod["status"].get("podIP", "")
    answer = _readyz(address)
    reported = answer.get("model") if answer else None
    pin = None if reported is None else msgspec.convert(reported, Pin)
    metrics = f"http://{address}:{METRICS}/metrics"
    return Instance(str(pod["metadata"]["name"]), f"http://{address}:{HTTP}", metrics, pin)


def _why(pod: Pod) -> Refusal | None:
    """Why it is not ready, from its containers' states or from its own report; None while it may get ready."""
    if (why := of_pod(pod)) is not None:
        return why
    answer = _readyz(pod["status"].get("podIP", "")) or {}
    message = str(answer.get("error", ""))
    if not message or NO_MODEL_YET in message:
        return None
    return Refusal(reason_of(message), f"{pod['metadata']['name']}: {message}")


def _readyz(address: str) -> dict[str, Any] | None:
    """What the pod's /readyz answers, whatever its status; None where nothing does."""
    if not address:
        return None
    connection = http.client.HTTPConnection(address, HTTP, timeout=ASK_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None
