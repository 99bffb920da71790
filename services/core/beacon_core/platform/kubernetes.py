"""The Kubernetes API, asked as a pod's own service account; nothing but HTTPS."""

import http.client
import json
import os
import ssl
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_with_type

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS = 10.0
NOT_FOUND, CONFLICT = 404, 409


class ClusterError(RuntimeError):
    """The API did not answer, or refused; `status` is its answer's, None where there was none."""

    exit_status = TRY_AGAIN

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Access(msgspec.Struct, frozen=True):
    """Where the API is and who asks. `account`: the folder of token and authority; None: plain HTTP, as tests speak."""

    host: str
    port: int
    namespace: str
    account: Path | None

    def ask(self, method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
        """One request; the object that comes back. A PATCH merges. Raises `ClusterError`, also for a refusal."""
        content = self._asked(method, path, body, query)
        try:
            answer: dict[str, Any] = json.loads(content) if content else {}
        except ValueError as error:
            raise ClusterError(f"{method} {path}: {message_with_type(error)}") from error
        return answer

    def text(self, path: str, **query: str) -> str:
        """What is no object, such as a log. Raises `ClusterError`."""
        return self._asked("GET", path, None, query).decode("utf-8", "replace")

    def _asked(self, method: str, path: str, body: object, query: Mapping[str, str]) -> bytes:
        asked = f"{path}?{urllib.parse.urlencode(query)}" if query else path
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": kind}
        try:
            connection = self._connect(headers)
            try:
                connection.request(method, asked, None if body is None else json.dumps(body), headers)
                response = connection.getresponse()
                content = response.read()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ClusterError(f"{method} {path}: {message_with_type(error)}") from error
        if response.status >= 300:
            raise ClusterError(f"{method} {path}: {response.status} {_said(content)}", response.status)
        return content

    def _connect(self, headers: dict[str, str]) -> http.client.HTTPConnection:
        if self.account is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        # Read each time: the kubelet replaces a token before it runs out.
        headers["Authorization"] = f"Bearer {(self.account / 'token').read_text(encoding='utf-8').strip()}"
        trust = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
        return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_SECONDS, context=trust)


def _said(content: bytes) -> str:
    """What a refusal says, an object of the API or not."""
    try:
        return str(json.loads(content)["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return content[:500].decode("utf-8", "replace")


def pod_access(environment: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> Access | None:
    """Return the access that Kubernetes gives each pod; None where this is no pod."""
    host = environment.get("KUBERNETES_SERVICE_HOST")
    if not host or not (account / "token").exists():
        return None
    return Access(
        host=host,
        port=int(environment.get("KUBERNETES_SERVICE_PORT", "443")),
        namespace=(account / "namespace").read_text(encoding="utf-8").strip(),
        account=account,
    )
