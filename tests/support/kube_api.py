"""A stand-in for the Kubernetes API: objects in memory behind a socket, and Deployments that roll their pods at once.

It does what promotion and the secrets hook rest on: 404 and 409, merge patches, dry runs, a rollout that keeps the old
pods until the new ones are ready, and pods that do not get ready because their model does not load.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import Configuration

from beacon_core.platform.kubernetes import Access

Document = dict[str, Any]
RELEASE = "beacon/release"


class Cluster:
    """The objects of one namespace, by resource and name; versions in `broken` do not load."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Document] = {}
        self.broken: set[str] = set()
        self.asked: list[str] = []
        self.pods: dict[str, list[Document]] = {}

    def put(self, resource: str, document: Document) -> None:
        """Create or replace an object; a Deployment rolls."""
        name = document["metadata"]["name"]
        if resource == "deployments":
            generation = self.objects.get((resource, name), {}).get("metadata", {}).get("generation", 0) + 1
            document["metadata"]["generation"] = generation
            self._roll(document)
        self.objects[resource, name] = document

    def remove(self, resource: str, name: str) -> None:
        """Delete an object, with its pods."""
        del self.objects[resource, name]
        self.pods.pop(name, None)

    def _roll(self, deployment: Document) -> None:
        name, replicas = deployment["metadata"]["name"], deployment["spec"]["replicas"]
        template = deployment["spec"]["template"]
        new = [self._pod(f"{name}-{number}", template) for number in range(replicas)]
        ready = all(pod["status"]["conditions"][0]["status"] == "True" for pod in new)
        # maxUnavailable: 0. Old pods stay until the new ones are ready, and one new one is tried at a time.
        self.pods[name] = new if ready else [*self.pods.get(name, []), new[0]]
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "updatedReplicas": replicas if ready else 1,
            "replicas": len(self.pods[name]),
            "availableReplicas": replicas if ready else len(self.pods[name]) - 1,
        }

    def _pod(self, name: str, template: Document) -> Document:
        annotation = template["metadata"].get("annotations", {}).get(RELEASE)
        pins = [pin for pin in json.loads(annotation).values() if pin] if annotation else []
        loads = bool(annotation) and not self.broken.intersection(pin["version"] for pin in pins)
        status: Document = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(loads)}]}
        if annotation and not loads:
            ended = {"exitCode": 1, "message": "the model does not run"}
            status["containerStatuses"] = [{"name": "inference", "state": {"terminated": ended}}]
        return {"metadata": {"name": name} | deepcopy(template["metadata"]), "status": status}


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    found = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def _answer(self) -> None:
        url = urlsplit(self.path)
        parts = url.path.split("/namespaces/beacon/")[1].split("/")
        resource, name = parts[0], parts[1] if len(parts) > 1 else ""
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        self.cluster.asked.append(
            f"{self.command} {resource} {name or body.get('metadata', {}).get('name', '')}".strip()
        )
        status, answer = self._of(resource, name, query, body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _of(self, resource: str, name: str, query: dict[str, str], body: Document) -> tuple[int, Document]:
        cluster = self.cluster
        if resource == "pods" and not name and self.command == "GET":
            wanted = dict(term.split("=") for term in query.get("labelSelector", "").split(",") if term)
            pods = [pod for each in cluster.pods.values() for pod in each]
            return 200, {"items": [pod for pod in pods if wanted.items() <= pod["metadata"].get("labels", {}).items()]}
        if self.command == "POST":
            if (resource, body["metadata"]["name"]) in cluster.objects:
                return 409, {"message": "it exists"}
            if "dryRun" not in query:
                cluster.put(resource, body)
            return 201, body
        if (resource, name) not in cluster.objects:
            return 404, {"message": "not found"}
        if self.command == "PATCH":
            cluster.put(resource, merged(cluster.objects[resource, name], body))
        if self.command == "DELETE":
            found = cluster.objects[resource, name]
            cluster.remove(resource, name)
            return 200, found
        return 200, cluster.objects[resource, name]

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@contextlib.contextmanager
def api(cluster: Cluster) -> Iterator[Access]:
    """The access to an API that has these objects."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Handler,), {"cluster": cluster}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    configuration = Configuration(f"http://127.0.0.1:{server.server_port}")
    configuration.retries, configuration.proxy = False, None
    try:
        yield Access(configuration, "beacon")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
