"""An installation with everything closed, for the suites on a cluster that `CLOSED=1` tells to make it so.

Every server proves its name by TLS, predictions and features need a key, what was sent without one is no evidence, the
console asks for a login, and no pod may open connections that it does not need.
"""

import base64
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from support.certificates import Authority
from support.products import POLICY

from beacon_core.platform.mlflow import CERTIFICATES
from tools.deploy import NEED_NO_PRODUCT, RELEASES, Cluster

CLOSED = bool(os.environ.get("CLOSED"))
AUTHORITY, KEY = "closed-authority", "ca.crt"
SESSION = {"name": "closed-console-login", "key": "session-key"}
SERVERS = ("postgresql", "redis", "mlflow")
PERSON = {"X-Forwarded-User": "ada@example.com", "X-Forwarded-Groups": "owners"}
"""What the proxy before the console says of a person who may do everything there."""
LABELS = {"app.kubernetes.io/part-of": "beacon"}
"""Of what is made here, so that `make undeploy` removes it."""
TRUSTED = {"ca": {"configMap": AUTHORITY, "key": KEY}}
MLFLOW = "https://beacon-mlflow:5000"
DNS = [
    {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
]
VALUES: dict[str, dict[str, Any]] = {
    "platform": {
        **{server: {"tlsSecret": f"closed-{server}"} for server in SERVERS},
        "tls": TRUSTED | {"database": True},
    },
    "retraining": {"tls": TRUSTED | {"database": True, "redis": True, "mlflow": True}, "mlflowUrl": MLFLOW},
    "feature-serving": {"tls": TRUSTED | {"database": True, "redis": True}, "keys": {"requiredFor": ["features"]}},
    "drift-profiling": {"tls": TRUSTED | {"database": True}},
    "console": {
        "tls": TRUSTED | {"database": True, "mlflow": True},
        "mlflowUrl": MLFLOW,
        "login": {
            "mode": "proxy",
            "sessionKey": SESSION,
            "viewers": ["owners"],
            "approvers": ["owners"],
            "operators": ["owners"],
        },
        # A forwarded port ends in the pod itself.
        "proxyNetworks": ["127.0.0.0/8", "::1/128"],
    },
    "inference": {
        "tls": TRUSTED | {"database": True, "mlflow": True},
        "mlflowUrl": MLFLOW,
        "keys": {"requiredFor": ["predict", "explain"]},
        "featuresKey": {"name": "beacon", "key": "feature-token"},
    },
    "promotion": {"tls": TRUSTED | {"database": True, "mlflow": True}, "mlflowUrl": MLFLOW},
    "monitoring": {"tls": TRUSTED | {"mlflow": True}, "prober": {"mlflowUrl": MLFLOW}},
}


def policy() -> dict[str, Any]:
    """The product's policy.yaml, by which only what was sent with a key is evidence."""
    found: dict[str, Any] = yaml.safe_load(POLICY.read_text(encoding="utf-8"))
    return found | {"evidence": {"clients": "keyed"}}


def closed_values(folder: Path, api: list[str]) -> Path:
    """A folder with a suite's values, and over them what closes everything; `api`: addresses of the Kubernetes API."""
    made = Path(tempfile.mkdtemp(prefix="beacon-closed-"))
    for name in RELEASES:
        file = folder / f"{name}.yaml"
        own = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
        more = VALUES[name] | {"networkPolicy": {"dns": DNS}}
        if name == "promotion":
            more["networkPolicy"] |= {"apiServer": api}
        if name not in NEED_NO_PRODUCT:
            more["product"] = {"policy": yaml.safe_dump(policy(), sort_keys=False)}
        (made / file.name).write_text(json.dumps(laid_over(own, more)), encoding="utf-8")
    return made


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, as Helm lays values over each other."""
    found = dict(below)
    for key, value in above.items():
        under = found.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        found[key] = laid_over(under, value) if both and under is not None else value
    return found


def make_certificates(cluster: Cluster) -> None:
    """The authority, each server's certificate and the console's session key, where they are not there yet."""
    if cluster.kubectl("get", "configmap", AUTHORITY, "-o", "name", "--ignore-not-found"):
        return
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder), "closed")
        for server in SERVERS:
            # 127.0.0.1: the tests reach it through a forwarded port.
            made = authority.certificate(f"beacon-{server}", "127.0.0.1")
            files = {"tls.crt": made.certificate.read_bytes(), "tls.key": made.key.read_bytes()}
            secret(cluster, f"closed-{server}", files, "kubernetes.io/tls")
        secret(cluster, SESSION["name"], {SESSION["key"]: secrets.token_hex(32).encode()})
        # Last: it says that all of them are there.
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": AUTHORITY, "labels": LABELS}}
        cluster.kubectl("create", "-f", "-", given=json.dumps(config_map | {"data": {KEY: authority.file.read_text()}}))


def secret(cluster: Cluster, name: str, files: Mapping[str, bytes], kind: str = "Opaque") -> None:
    """Make a Secret, or replace it."""
    data = {key: base64.b64encode(content).decode() for key, content in files.items()}
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": LABELS}, "type": kind}
    cluster.kubectl("apply", "-f", "-", given=json.dumps(made | {"data": data}))


def trust_authority(cluster: Cluster, folder: Path) -> str:
    """Let this process trust MLflow's certificate, and its clients; the authority's file, which comes into `folder`."""
    file = folder / KEY
    file.write_text(json.loads(cluster.kubectl("get", "configmap", AUTHORITY, "-o", "json"))["data"][KEY])
    os.environ[CERTIFICATES] = os.environ["REQUESTS_CA_BUNDLE"] = str(file)
    return str(file)
