"""Checks of a cluster by kubectl: it answers, workloads are ready, and each Secret that one names is there."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from beacon_laptop.doctor.findings import Finding

SECONDS = "10s"
WORKLOADS = ("deployment", "statefulset", "daemonset")
HOLDING = {"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError", "InvalidImageName"}
Json = dict[str, Any]


class KubectlError(Exception):
    """The cluster does not answer, or refuses."""


def cluster(namespace: str) -> Iterator[Finding]:
    """All checks of the namespace."""
    if shutil.which("kubectl") is None:
        yield Finding("cluster", "fail", "kubectl is not on PATH", "install kubectl")
        return
    try:
        workloads = _get(",".join(WORKLOADS), namespace)
        jobs = _get("cronjob", namespace)
        pods = _get("pod", namespace)
        secrets = _get("secret", namespace)
    except KubectlError as error:
        yield Finding("cluster", "fail", str(error), "kubectl config current-context; kubectl auth can-i --list")
        return
    if not workloads and not jobs:
        yield Finding(
            "cluster", "fail", f"the namespace {namespace} has no workloads", f"make deploy NAMESPACE={namespace}"
        )
        return
    yield Finding("cluster", "ok", f"answers; {len(workloads)} workloads and {len(jobs)} schedules in {namespace}")
    yield from workload_findings(workloads, namespace)
    yield from pod_findings(pods, namespace)
    yield from secret_findings([*workloads, *jobs], secrets, namespace)
    yield from schedule_findings(jobs, namespace)


def _get(kinds: str, namespace: str) -> list[Json]:
    command = ["kubectl", "get", kinds, "--namespace", namespace, "--output", "json", "--request-timeout", SECONDS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a tool of this machine
    if done.returncode:
        raise KubectlError((done.stderr.strip().splitlines() or ["kubectl gave no reason"])[-1])
    found: list[Json] = json.loads(done.stdout)["items"]
    return found


def workload_findings(workloads: list[Json], namespace: str) -> Iterator[Finding]:
    """Whether each workload has as many ready pods as it wants."""
    for one in workloads:
        name = f"{one['kind'].lower()} {one['metadata']['name']}"
        status = one.get("status", {})
        wanted = status.get("desiredNumberScheduled", one.get("spec", {}).get("replicas", 1))
        ready = status.get("readyReplicas", status.get("numberReady", 0))
        if ready >= wanted:
            yield Finding(name, "ok", f"{ready} of {wanted} pods are ready")
        else:
            mend = f"kubectl describe --namespace {namespace} {name.replace(' ', '/')}"
            yield Finding(name, "fail", f"{ready} of {wanted} pods are ready", mend)


def pod_findings(pods: list[Json], namespace: str) -> Iterator[Finding]:
    """Pods that wait for something that does not come."""
    for pod in pods:
        name = pod["metadata"]["name"]
        status = pod.get("status", {})
        for one in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            waiting = one.get("state", {}).get("waiting", {})
            if waiting.get("reason") in HOLDING:
                text = f"{one['name']}: {waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
                mend = f"kubectl logs --namespace {namespace} {name} --container {one['name']} --previous"
                yield Finding(f"pod {name}", "fail", text, mend)


def secret_findings(workloads: list[Json], secrets: list[Json], namespace: str) -> Iterator[Finding]:
    """Each Secret, and each of its keys, that a workload names and cannot do without."""
    there = {one["metadata"]["name"]: set(one.get("data") or {}) for one in secrets}
    wanted: dict[tuple[str, str], str] = {}
    for one in workloads:
        wanted |= dict.fromkeys(_named(_pod_spec(one)), one["metadata"]["name"])
    for (secret, key), by in sorted(wanted.items()):
        if secret not in there:
            mend = f"kubectl create secret generic --namespace {namespace} {secret} --from-literal={key or 'KEY'}=VALUE"
            yield Finding(f"Secret {secret}", "fail", f"is not there, and {by} needs it", mend)
        elif key and key not in there[secret]:
            mend = f"kubectl edit secret --namespace {namespace} {secret}"
            yield Finding(f"Secret {secret}", "fail", f"lacks the key {key}, which {by} needs", mend)
    if wanted and all(secret in there and (not key or key in there[secret]) for secret, key in wanted):
        yield Finding("Secrets", "ok", f"{len({secret for secret, _ in wanted})} are named, and all are there")


def _pod_spec(workload: Json) -> Json:
    spec = workload.get("spec", {})
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: Json = spec.get("template", {}).get("spec", {})
    return found


def _named(spec: Json) -> Iterator[tuple[str, str]]:
    """Secret and key of everything in a pod's spec that is not optional; an empty key is the whole Secret."""
    for volume in spec.get("volumes", []):
        parts = [volume, *volume.get("projected", {}).get("sources", [])]
        for secret in (part["secret"] for part in parts if "secret" in part):
            if not secret.get("optional"):
                name = secret.get("secretName") or secret["name"]
                yield from ((name, item["key"]) for item in secret.get("items", [{"key": ""}]))
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        for source in container.get("envFrom", []):
            if "secretRef" in source and not source["secretRef"].get("optional"):
                yield source["secretRef"]["name"], ""
        for variable in container.get("env", []):
            found = variable.get("valueFrom", {}).get("secretKeyRef")
            if found and not found.get("optional"):
                yield found["name"], found["key"]


def schedule_findings(jobs: list[Json], namespace: str) -> Iterator[Finding]:
    """Schedules that a person suspended."""
    for one in jobs:
        if one.get("spec", {}).get("suspend"):
            name = one["metadata"]["name"]
            mend = (
                f"""kubectl patch cronjob --namespace {namespace} {name} --patch '{{"spec": {{"suspend": false}}}}'"""
            )
            yield Finding(f"cronjob {name}", "warn", "is suspended", mend)
