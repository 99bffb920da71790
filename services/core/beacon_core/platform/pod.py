"""Whether this process runs in a pod, without importing the Kubernetes client."""

import os
from collections.abc import Mapping
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts a pod's token, namespace and certificate authority."""


def is_pod(environment: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> bool:
    """Whether Kubernetes gave this process a service account for its API."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST")) and (account / "token").exists()
