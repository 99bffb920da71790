"""Requests to the services of this machine, and their readiness."""

import contextlib
import http.client
import json
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

PROBE_SECONDS = 2.0


class ProbeResponse(NamedTuple):
    """The response of a service; status 0 where there is none, and then `text` says why."""

    status: int
    text: str

    @property
    def reason(self) -> str:
        """Why the request was refused: the service's error message, else the text of the response."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return str(json.loads(self.text)["error"])
        return self.text.strip()


def probe(
    url: str, body: object = None, headers: Mapping[str, str] | None = None, seconds: float = PROBE_SECONDS
) -> ProbeResponse:
    """GET `url`, or POST `body` to it as JSON. Uses no proxy."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        if body is None:
            connection.request("GET", parts.path, headers=headers or {})
        else:
            sent = {"Content-Type": "application/json", **(headers or {})}
            connection.request("POST", parts.path, json.dumps(body), sent)
        response = connection.getresponse()
        return ProbeResponse(response.status, response.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return ProbeResponse(0, str(error) or type(error).__name__)
    finally:
        connection.close()


def is_ready(url: str) -> bool:
    """Whether GET `url` answers 200 within `PROBE_SECONDS`; True for an empty URL (a process without a port)."""
    return not url or probe(url).status == http.client.OK
