"""The Kubernetes API by the official client, as a pod's own service account.

Importing this loads the client, which takes a second and 80 MB: code that may run elsewhere checks `pod.is_pod` first.
Answers are the API's own JSON, not the client's models, which drop the fields that their release does not know.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from kubernetes.config.incluster_config import InClusterConfigLoader
from urllib3.exceptions import HTTPError

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import mask, message_with_type
from beacon_core.platform.pod import ACCOUNT

TIMEOUT_SECONDS = 10
"""An int: the client ignores a timeout that is a float."""
NOT_FOUND, CONFLICT = 404, 409


class ClusterError(RuntimeError):
    """The API did not answer, or refused; `status` is that of its answer, None where there was none."""

    exit_status = TRY_AGAIN

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Access(msgspec.Struct, frozen=True):
    """The client's configuration (address and credentials), and the namespace of all calls."""

    configuration: Configuration
    namespace: str

    def client(self, content_type: str | None = None) -> ApiClient:
        """The argument of the classes of kubernetes.client; `content_type` is the type of their PATCH requests."""
        return ApiClient(self.configuration, content_type and "Content-Type", content_type)

    def call(self, operation: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
        """Call one operation of the client in the namespace, and return its object. Raises `ClusterError`."""
        content = self._response_body(operation, arguments)
        try:
            answer: dict[str, Any] = json.loads(content)
        except ValueError as error:
            raise ClusterError(f"{operation.__name__}: {message_with_type(error)}") from error
        return answer

    def text(self, operation: Callable[..., Any], **arguments: Any) -> str:
        """Call an operation whose answer is text, such as a log. Raises `ClusterError`."""
        return self._response_body(operation, arguments).decode("utf-8", "replace")

    def _response_body(self, operation: Callable[..., Any], arguments: dict[str, Any]) -> bytes:
        try:
            response = operation(
                namespace=self.namespace, _preload_content=False, _request_timeout=TIMEOUT_SECONDS, **arguments
            )
            content: bytes = response.data
        except ApiException as error:
            raise ClusterError(f"{operation.__name__}: {_refusal_message(error)}", error.status or None) from error
        except (HTTPError, OSError, ConfigException) as error:
            raise ClusterError(f"{operation.__name__}: {_failure_message(error)}") from error
        return content


def _failure_message(error: Exception) -> str:
    """The cause, which urllib3 wraps; or the client's own message about the files of the service account."""
    if isinstance(error, ConfigException):
        return mask(str(error))
    return message_with_type(error.__cause__ or error.__context__ or error)


def _refusal_message(error: ApiException) -> str:
    """The message of a refusal, from the API's object or plain text; or of a failed TLS handshake."""
    content: bytes = error.body or b""
    try:
        message = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        message = content.decode("utf-8", "replace") or " ".join(str(error.reason).split())
    return f"{error.status} {message[:500]}" if error.status else message[:500]


def pod_access(environment: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> Access:
    """Return the access that Kubernetes gives each pod; raises `ClusterError` where this is none (`pod.is_pod`)."""
    configuration = Configuration()
    # Failures are raised at once, and no proxy is used between a pod and its API, whatever HTTPS_PROXY is.
    configuration.retries, configuration.proxy = False, None
    try:
        # The token is read again each minute: the kubelet replaces it before it expires.
        loader = InClusterConfigLoader(str(account / "token"), str(account / "ca.crt"), environ=environment)
        loader.load_and_set(configuration)
        namespace = (account / "namespace").read_text(encoding="utf-8").strip()
    except (ConfigException, OSError) as error:
        raise ClusterError(f"this pod has no access to its cluster: {_failure_message(error)}") from error
    return Access(configuration, namespace)
