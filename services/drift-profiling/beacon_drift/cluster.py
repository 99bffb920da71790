"""The cluster: start the retraining Job through the Kubernetes API, as the pod's service account; nothing but HTTPS.

The Job is made from the CronJob's own template, so that a run asked for by drift is the run of the schedule. Its name
comes from the cause: asked twice, the API itself says that it is there.
"""

import hashlib
import http.client
import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS = 10.0
CONFLICT = 409


class ClusterError(RuntimeError):
    """The API did not answer, or refused."""


class Access(msgspec.Struct, frozen=True):
    """Where the API is and who asks. `authority` None: plain HTTP, as tests speak it."""

    host: str
    port: int
    namespace: str
    token: str
    authority: Path | None


def pod_access(environment: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> Access | None:
    """Return the access that Kubernetes gives each pod; None where this is no pod."""
    host = environment.get("KUBERNETES_SERVICE_HOST")
    if not host or not (account / "token").exists():
        return None
    return Access(
        host=host,
        port=int(environment.get("KUBERNETES_SERVICE_PORT", "443")),
        namespace=(account / "namespace").read_text(encoding="utf-8").strip(),
        token=(account / "token").read_text(encoding="utf-8").strip(),
        authority=account / "ca.crt",
    )


def job_name(cron_job: str, cause: str) -> str:
    """Name the Job of a cause: a label of at most 63 characters, always the same."""
    digest = hashlib.sha256(cause.encode()).hexdigest()[:10]
    return f"{cron_job[:46].rstrip('-')}-drift-{digest}"


def start_job(access: Access, cron_job: str, cause: str) -> bool:
    """Start the Job; False when it was started before. Raises `ClusterError`."""
    base = f"/apis/batch/v1/namespaces/{access.namespace}"
    status, found = _call(access, "GET", f"{base}/cronjobs/{cron_job}")
    if status != 200:
        raise ClusterError(f"CronJob {cron_job}: {status} {_said(found)}")
    template = found["spec"]["jobTemplate"]
    meta = template.get("metadata", {})
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": cron_job,
        "uid": found["metadata"]["uid"],
        "controller": False,
    }
    name = job_name(cron_job, cause)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": meta.get("labels", {}),
            "annotations": meta.get("annotations", {}) | {"beacon/cause": cause},
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
    }
    status, made = _call(access, "POST", f"{base}/jobs", job)
    if status == CONFLICT:
        return False
    if status not in {200, 201, 202}:
        raise ClusterError(f"Job {name}: {status} {_said(made)}")
    return True


def _call(access: Access, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    connection: http.client.HTTPConnection
    if access.authority is None:
        connection = http.client.HTTPConnection(access.host, access.port, timeout=TIMEOUT_SECONDS)
    else:
        trust = ssl.create_default_context(cafile=str(access.authority))
        connection = http.client.HTTPSConnection(access.host, access.port, timeout=TIMEOUT_SECONDS, context=trust)
    headers = {
        "Authorization": f"Bearer {access.token}",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ClusterError(f"{method} {path}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _said(answer: dict[str, Any]) -> str:
    return str(answer.get("message", answer))[:500]
