"""The cluster: start the retraining Job through the Kubernetes API, as the pod's service account.

The Job is made from the CronJob's own template, so that a run requested by drift equals a scheduled run. Its name
follows from the cause, so the API refuses to create it twice.
"""

import hashlib

from kubernetes.client import BatchV1Api

from beacon_core.platform.kubernetes import CONFLICT, Access, ClusterError


def job_name(cron_job: str, cause: str) -> str:
    """Name the Job of a cause: a label of at most 63 characters, always the same."""
    digest = hashlib.sha256(cause.encode()).hexdigest()[:10]
    return f"{cron_job[:46].rstrip('-')}-drift-{digest}"


def start_job(access: Access, cron_job: str, cause: str) -> bool:
    """Start the Job; False when it was started before. Raises `ClusterError`."""
    batch = BatchV1Api(access.client())
    found = access.call(batch.read_namespaced_cron_job, name=cron_job)
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
    try:
        access.call(batch.create_namespaced_job, body=job)
    except ClusterError as error:
        if error.status == CONFLICT:
            return False
        raise
    return True
