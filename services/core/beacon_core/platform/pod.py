"""Whether this process runs in a pod of a cluster; told without the cluster's client, which a laptop need not load."""

import os
from collections.abc import Mapping
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts a pod's token, namespace and authority."""


def is_pod(environment: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> bool:
    """Whether Kubernetes gave this process an account to ask its API with."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST")) and (account / "token").exists()
