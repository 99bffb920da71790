"""What a service account of the cluster tries with its own token, by server-side dry run, and what the API says."""

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes import client
from kubernetes.client import Configuration

from beacon_core.platform.kubernetes import CONFLICT, Access, ClusterError
from tools.deploy import Cluster

BY_ROLE = "cannot"
"""What the API says where no Role gives the right."""
POD_SECURITY = "violates PodSecurity"
"""What it says of a pod that its namespace refuses whoever makes it; that comes before the policies."""
Document = dict[str, Any]
APIS: dict[str, tuple[type[Any], str, str]] = {
    "ConfigMap": (client.CoreV1Api, "config_map", "v1"),
    "Endpoints": (client.CoreV1Api, "endpoints", "v1"),
    "PersistentVolumeClaim": (client.CoreV1Api, "persistent_volume_claim", "v1"),
    "Pod": (client.CoreV1Api, "pod", "v1"),
    "ReplicationController": (client.CoreV1Api, "replication_controller", "v1"),
    "Secret": (client.CoreV1Api, "secret", "v1"),
    "Service": (client.CoreV1Api, "service", "v1"),
    "ServiceAccount": (client.CoreV1Api, "service_account", "v1"),
    "DaemonSet": (client.AppsV1Api, "daemon_set", "apps/v1"),
    "Deployment": (client.AppsV1Api, "deployment", "apps/v1"),
    "ReplicaSet": (client.AppsV1Api, "replica_set", "apps/v1"),
    "StatefulSet": (client.AppsV1Api, "stateful_set", "apps/v1"),
    "CronJob": (client.BatchV1Api, "cron_job", "batch/v1"),
    "Job": (client.BatchV1Api, "job", "batch/v1"),
    "Lease": (client.CoordinationV1Api, "lease", "coordination.k8s.io/v1"),
    "Ingress": (client.NetworkingV1Api, "ingress", "networking.k8s.io/v1"),
    "NetworkPolicy": (client.NetworkingV1Api, "network_policy", "networking.k8s.io/v1"),
    "PodDisruptionBudget": (client.PolicyV1Api, "pod_disruption_budget", "policy/v1"),
    "Role": (client.RbacAuthorizationV1Api, "role", "rbac.authorization.k8s.io/v1"),
    "RoleBinding": (client.RbacAuthorizationV1Api, "role_binding", "rbac.authorization.k8s.io/v1"),
}


class Attempt(NamedTuple):
    """One request, and a part of what the API says to it; empty: it is admitted."""

    what: str
    verb: str
    body: Document
    refusal: str = ""


@contextmanager
def asking_as(cluster: Cluster, account: str) -> Iterator[Access]:
    """The API as the account asks it: by a token of its own, and nothing of the administrator's."""
    view = json.loads(cluster.kubectl("config", "view", "--minify", "--raw", "--flatten", "-o", "json"))
    server = view["clusters"][0]["cluster"]
    configuration = Configuration(server["server"])
    configuration.retries, configuration.proxy = False, None
    configuration.api_key = {"authorization": cluster.kubectl("create", "token", account).strip()}
    configuration.api_key_prefix = {"authorization": "Bearer"}
    with tempfile.TemporaryDirectory() as folder:
        authority = Path(folder, "ca.crt")
        authority.write_bytes(base64.b64decode(server["certificate-authority-data"]))
        configuration.ssl_ca_cert = str(authority)
        yield Access(configuration, cluster.namespace)


def answer(access: Access, attempt: Attempt) -> str:
    """What the API says to it; empty where it would do it. Nothing is changed."""
    body = attempt.body
    patches = attempt.verb == "patch"
    api = access.client("application/merge-patch+json" if patches else None)
    named = {"name": body["metadata"]["name"]} if attempt.verb in {"patch", "delete"} else {}
    try:
        if body["kind"] == "HTTPRoute":
            place = {"group": "gateway.networking.k8s.io", "version": "v1", "plural": "httproutes"}
            operation = client.CustomObjectsApi(api).patch_namespaced_custom_object
            access.call(operation, **place, **named, body=body, dry_run="All")
        else:
            group, kind, version = APIS[body["kind"]]
            operation = getattr(group(api), f"{attempt.verb}_namespaced_{kind}")
            content = {} if attempt.verb == "delete" else {"body": {"apiVersion": version} | body}
            access.call(operation, **named, **content, dry_run="All")
    except ClusterError as error:
        # Admission comes before the look whether it is there.
        return "" if error.status == CONFLICT else str(error)
    return ""


def otherwise(access: Access, attempts: list[Attempt]) -> dict[str, str]:
    """The attempts to which the API says something else than it should, and what."""
    found = {}
    for attempt in attempts:
        said = answer(access, attempt)
        right = attempt.refusal in said or POD_SECURITY in said if attempt.refusal else not said
        if not right:
            found[attempt.what] = said or "admitted"
    return found
