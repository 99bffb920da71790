"""What Beacon depends on is named, looked up among known vulnerabilities, and by a workflow that may do little."""

import json
import os
import subprocess
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from beacon_core.platform.settings import ROOT

SERVERS = ("inference", "prediction-log", "feature-serving", "console")
ENVIRONMENTS = (*SERVERS, "retraining", "drift-profiling", "promotion", "laptop", "spark")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
LOCK: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
VULNERABLE = {"id": "GHSA-0000-test", "aliases": ["CVE-2000-0001"], "modified": "2026-01-01T00:00:00Z"} | {
    "summary": "found by a stand-in of OSV",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "msgspec"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
        }
    ],
}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a target, whatever make is above these tests."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "-s", *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sbom")
    done = make("sbom", f"SBOM={folder}")
    assert done.returncode == 0, done.stderr
    return folder


def locked(environment: str) -> set[tuple[str, str]]:
    """Name and version of all that the lock gives an environment, on any machine: the lock's own graph is walked."""
    (own,) = [package for package in LOCK if package["name"] == f"beacon-{environment}"]
    wanted = [(own["name"], "")]
    if environment in {"laptop", "spark"}:
        wanted += [(own["name"], extra) for extra in own.get("optional-dependencies", {})]
    found: set[tuple[str, str]] = set()
    walked = set()
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in walked:
            continue
        walked.add((name, extra))
        for package in (each for each in LOCK if each["name"] == name):
            found.add((name, package["version"]))
            edges = package.get("dependencies", []) if not extra else []
            edges = edges + package.get("optional-dependencies", {}).get(extra, [])
            for edge in edges:
                wanted += [(edge["name"], each) for each in ("", *edge.get("extra", ()))]
    return found


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_bill_of_materials_names_every_locked_package_of_its_environment(bills: Path, environment: str) -> None:
    bill = json.loads((bills / f"beacon-{environment}.cdx.json").read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    own = bill["metadata"]["component"]
    assert own["name"] == f"beacon-{environment}"
    named = {(part["name"], part["version"]) for part in [own, *bill["components"]]}
    assert len(named) > 20
    assert named == locked(environment)
    for part in bill["components"]:
        if not part["name"].startswith("beacon-"):
            assert part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}"
            assert all(file["hashes"] for file in part["externalReferences"])


def test_every_environment_has_a_bill(bills: Path) -> None:
    assert sorted(file.name for file in bills.iterdir()) == sorted(f"beacon-{name}.cdx.json" for name in ENVIRONMENTS)


@pytest.fixture
def advisories() -> Iterator[tuple[str, list[str]]]:
    """A stand-in of OSV that knows one vulnerability: its address, and the packages that were asked for."""
    asked: list[str] = []

    class Advisories(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            names = [query["package"]["name"] for query in json.loads(self._body())["queries"]]
            asked.extend(names)
            known = {"vulns": [{"id": VULNERABLE["id"], "modified": VULNERABLE["modified"]}]}
            self._answer({"results": [known if name == "msgspec" else {} for name in names]})

        def do_GET(self) -> None:
            self._answer(VULNERABLE)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers["Content-Length"]))

        def _answer(self, answer: object) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()
        thread.join()


def test_an_audit_looks_up_every_locked_package_and_fails_for_a_vulnerable_one(
    advisories: tuple[str, list[str]],
) -> None:
    address, asked = advisories
    done = make("audit", f"ARGS=--service-url {address}")
    assert done.returncode != 0
    assert "GHSA-0000-test: found by a stand-in of OSV" in done.stdout
    assert set(asked) == {package["name"] for package in LOCK if "registry" in package["source"]}
    done = make("audit", f"ARGS=--service-url {address} --ignore CVE-2000-0001")
    assert done.returncode == 0, done.stderr


def test_a_workflow_audits_the_lock_each_day_and_whenever_it_changes() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "supply-chain.yml").read_text(encoding="utf-8"))
    events = workflow[True]  # what YAML makes of the key `on`
    assert len(events["schedule"]) == 1
    assert "uv.lock" in events["push"]["paths"]
    assert "uv.lock" in events["pull_request"]["paths"]
    assert workflow["jobs"]["audit"]["steps"][-1] == {"run": "make audit"}
    assert {"run": "make sbom SBOM=sbom"} in workflow["jobs"]["sbom"]["steps"]
    assert events["release"] == {"types": ["published"]}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: str(file.name))
def test_a_job_that_may_write_runs_nothing_of_the_repository(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        used = [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step]
        if "write" in job.get("permissions", {}).values():
            assert "actions/checkout" not in used, name
        assert all(
            step["with"]["persist-credentials"] is False for step in job["steps"] if "checkout" in str(step.get("uses"))
        )
