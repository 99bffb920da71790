"""What others' rules say of the rendered charts: Kubernetes' own schemas, checkov, and a cluster where one is there."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.rendering import CASES, rendered

from beacon_core.platform.settings import ROOT

UV = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
SCHEMAS = "kubernetes-validate==1.37.0"
CHECKOV = "checkov==3.3.30"
VERSIONS = ("1.30", "1.34", "1.37")
"""The oldest that docs/how-to/deploy.md promises, the one of the tests, and the newest of the schemas."""
FOREIGN = {"ServiceMonitor", "HTTPRoute", "ScaledObject"}
"""Kinds of others' definitions, which Kubernetes' schemas don't know."""
WAIVED = {
    "CKV_K8S_8": ("the golden test is a pod that ends", {"beacon-inference-golden"}),
    "CKV_K8S_9": ("the golden test is a pod that ends", {"beacon-inference-golden"}),
    "CKV_K8S_11": ("a limit of CPU only slows a pod whose node is idle; requests share a busy one out", None),
    "CKV_K8S_15": ("tags name one build, never another later: pulling again brings nothing", None),
    "CKV_K8S_35": ("libpq, Redis' and Kaggle's clients take passwords from variables; no URL holds one", None),
    "CKV_K8S_38": (
        "promotion rolls inference, and a hook creates Secrets, through the API",
        {"beacon-promotion", "beacon-promotion-first", "beacon-secrets"},
    ),
    "CKV_K8S_40": ("the uid of the official images, which own their folders", {"beacon-postgresql", "beacon-redis"}),
    "CKV_K8S_43": ("a digest is a value of every image; `make images` builds them where the charts are read", None),
}
"""By check: why it need not hold, and for which objects (None: any). Each must still be needed."""


def tool(package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [UV, "tool", "run", "--from", package, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(folder: Path, documents: list[dict[str, Any]], name: str) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every chart with every set of values, each in a file of its own."""
    folder = tmp_path_factory.mktemp("rendered")
    found = [(f"{chart}-{values}", rendered(chart, values)) for chart, values in CASES]
    return [write(folder, documents, name) for name, documents in found if documents]


def without_foreign(file: Path, folder: Path) -> Path:
    documents = [item for item in yaml.safe_load_all(file.read_text()) if item["kind"] not in FOREIGN]
    return write(folder, documents, file.stem)


def valid(files: list[Path], version: str) -> subprocess.CompletedProcess[str]:
    arguments = ["kubernetes-validate", "--strict", "--quiet", "--no-warn", "-k", version, *map(str, files)]
    return tool(SCHEMAS, *arguments)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_of_kubernetes_take_every_object(version: str, files: list[Path], tmp_path: Path) -> None:
    done = valid([without_foreign(file, tmp_path) for file in files], version)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schemas_refuse_a_misspelt_field(files: list[Path], tmp_path: Path) -> None:
    file = without_foreign(next(file for file in files if file.stem.startswith("inference-default")), tmp_path)
    file.write_text(file.read_text().replace("enableServiceLinks", "enableServiceLink"))
    assert valid([file], VERSIONS[0]).returncode != 0


def objections(folder: Path) -> set[tuple[str, str]]:
    """What checkov finds in a folder: check and object."""
    arguments = [
        "checkov",
        "--directory",
        str(folder),
        "--framework",
        "kubernetes",
        "--compact",
        "--quiet",
        "-o",
        "json",
    ]
    done = tool(CHECKOV, *arguments)
    assert done.returncode in {0, 1}, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 0
    # KIND.NAMESPACE.NAME, and for the pods of a Job their labels; a Job's name may end in a digest of it
    found = {(item["check_id"], item["resource"].split(".")[2]) for item in report["results"]["failed_checks"]}
    return {(check, re.sub("-[0-9a-f]{8}$", "", name)) for check, name in found}


def test_checkov_finds_only_what_is_waived_with_a_reason(files: list[Path]) -> None:
    found = objections(files[0].parent)
    known = {(check, name) for check, name in found if check in WAIVED and name in (WAIVED[check][1] or {name})}
    assert found - known == set()
    assert {check for check, _ in found} == WAIVED.keys(), "a waiver that nothing needs any more"
    named = {(check, name) for check, (_, names) in WAIVED.items() for name in names or ()}
    assert named <= found, "an object that needs its waiver no more"


def test_checkov_objects_to_a_pod_that_is_not_hardened(tmp_path: Path) -> None:
    spec = {"containers": [{"name": "a", "image": "a:1", "securityContext": {"privileged": True}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b"}, "spec": spec}
    write(tmp_path, [pod], "pod")
    assert {("CKV_K8S_16", "a"), ("CKV_K8S_31", "a")} <= objections(tmp_path)


def test_a_cluster_takes_every_object(tmp_path: Path) -> None:
    """Where a cluster is there: its own validation, admission included."""
    kubectl = ["kubectl", "--request-timeout=60s"]
    ready = ["kubectl", "--request-timeout=5s", "get", "--raw=/readyz"]
    if not shutil.which("kubectl") or subprocess.run(ready, capture_output=True, check=False).returncode != 0:
        pytest.skip("no cluster answers")
    served = subprocess.run([*kubectl, "api-resources", "--no-headers"], capture_output=True, text=True, check=True)
    kinds = {line.split()[-1] for line in served.stdout.splitlines()}
    for chart, values in CASES:
        documents = [document for document in rendered(chart, values) if document["kind"] in kinds]
        if not documents:
            continue
        for document in documents:
            document["metadata"]["namespace"] = "default"
        file = write(tmp_path, documents, f"{chart}-{values}")
        apply = [
            "kubectl",
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--namespace=default",
            f"--filename={file}",
        ]
        done = subprocess.run(apply, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{chart} {values}: {done.stderr}"
