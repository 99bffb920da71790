"""Requests to one service, tried again where the server says so; its errors as exceptions."""

import time
from typing import Any

import httpx

AGAIN = frozenset({429, 503})
"""Statuses after which the same request may pass."""
LONGEST_WAIT = 60.0
"""Seconds between two tries, whatever the server says."""


class ServiceError(Exception):
    """An error that a service answered with: its text, and the parts of its body.

    `field` is the path of the value that is wrong, within the request of the client that was sent.
    """

    def __init__(self, status: int, code: str, message: str, field: str | None, request_id: str | None) -> None:
        at = f" (at {field})" if field else ""
        super().__init__(f"{message}{at} [{code}, status {status}, request {request_id}]")
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.request_id = request_id


class ServiceUnreachableError(Exception):
    """A service does not answer at its address, or what answers is not Beacon."""


class HttpService:
    """One service at its address."""

    def __init__(self, address: str, headers: dict[str, str], timeout: float, retries: int) -> None:
        self.address = address.rstrip("/")
        self._client = httpx.Client(headers=headers, timeout=timeout)
        self._retries = retries

    def get(self, path: str, parameters: dict[str, Any] | None = None) -> Any:
        """The JSON that the route answers with."""
        return self._ask("GET", path, params=parameters)

    def post(self, path: str, body: Any) -> Any:
        """The JSON that the route answers with."""
        return self._ask("POST", path, json=body)

    def close(self) -> None:
        """Close what is open."""
        self._client.close()

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        for left in range(self._retries, -1, -1):
            try:
                answer = self._client.request(method, self.address + path, **given)
            except httpx.HTTPError as error:
                raise ServiceUnreachableError(f"{self.address} does not answer: {error}") from error
            if answer.status_code not in AGAIN or not left:
                break
            time.sleep(min(_seconds(answer.headers.get("Retry-After", "")), LONGEST_WAIT))
        try:
            content = answer.json()
        except ValueError as error:
            raise ServiceUnreachableError(
                f"{self.address}{path} answers with status {answer.status_code}, and not as Beacon does"
            ) from error
        if answer.is_success:
            return content
        raise _error(answer.status_code, content)


def _error(status: int, content: Any) -> ServiceError:
    given = content if isinstance(content, dict) else {}
    message = str(given.get("error", content))
    return ServiceError(status, str(given.get("code", "")), message, given.get("field"), given.get("request_id"))


def _seconds(text: str) -> float:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 1.0
