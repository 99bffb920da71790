"""What the chart promotion must be told of the cluster and of inference, for its admission policies."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

POLICIES = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
"""What the chart promotion installs outside its namespace, where the cluster has it and the user may."""


class Asked(Protocol):
    """Helm and kubectl on one namespace."""

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        """Run kubectl; its output."""
        ...

    def helm(self, verb: str, name: str, *arguments: str, check: bool = True) -> str:
        """Run helm's `verb` on a release; its output."""
        ...


def cluster_values(cluster: Asked, name: str) -> dict[str, Any]:
    """What the release's chart is told of the cluster; prints what promotion's cannot have there."""
    if name != "promotion":
        return {}
    if (why := _no_policies(cluster)) is not None:
        print(f"  no admission policy holds promotion's account, which may create any pod: {why}", flush=True)
        return {"admissionPolicy": {"enabled": False}}
    installed = cluster.helm("get values", "inference", "--all", "-o", "json", check=False)
    return {"inferencePods": inference_has(json.loads(installed))} if installed else {}


def inference_has(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the values of inference say that its pods have, as promotion's chart takes it."""
    login = values["mlflowLogin"]["secret"]
    account = values["serviceAccount"]
    added = [*values["extraInitContainers"], *values["extraContainers"]]
    sources = [source.get("secretRef", source.get("configMapRef", {})).get("name") for source in values["envFrom"]]
    named = [values["database"]["secret"], login, values["apiKey"], values["featuresKey"]]
    keys = {"name": values["keys"]["name"], "key": values["keys"]["key"]}
    asked = [one["valueFrom"].get("secretKeyRef") for one in values["extraEnv"] if "valueFrom" in one]
    secrets = [*named, *values["secretEnv"].values(), keys, *(one for one in asked if one)]
    config_maps = [values["signatures"]["configMap"], values["tls"]["ca"]["configMap"]]
    return {
        "image": values["image"]["repository"],
        "logImage": values["predictionLog"]["image"]["repository"],
        "claim": values["packagesClaim"],
        "spoolClaim": values["spool"]["claim"],
        "secrets": [{"name": one["name"], "key": one["key"]} for one in secrets if one["name"]],
        "mlflowLogin": {"name": login["name"], "key": login["key"]},
        "configMaps": [name for name in config_maps if name],
        "serviceAccount": account["name"] or ("$(name)-inference" if account["create"] else ""),
        "containers": [{"name": one["name"], "image": one["image"]} for one in added],
        "envFrom": [name for name in sources if name],
        "volumes": [volume["name"] for volume in values["extraVolumes"]],
        "variables": sorted({*values["env"], *values["secretEnv"], *(one["name"] for one in values["extraEnv"])}),
    }


def _no_policies(cluster: Asked) -> str | None:
    """Why this user cannot install admission policies on this cluster; None where that is possible."""
    group = "admissionregistration.k8s.io"
    served = cluster.kubectl("api-resources", f"--api-group={group}", "--output=name").split()
    names = [f"{kind}.{group}" for kind in POLICIES]
    if not set(names) <= set(served):
        return "the cluster has no ValidatingAdmissionPolicies"
    for verb in ("get", "create", "patch"):
        for name in names:
            if cluster.kubectl("auth", "can-i", verb, name, check=False).strip() != "yes":
                return f"you may not {verb} {name}"
    return None
