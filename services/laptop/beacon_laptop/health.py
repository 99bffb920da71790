"""Asking a service on this machine whether it is ready, or anything else."""

import contextlib
import http.client
import json
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

PROBE_SECONDS = 2.0


class Answer(NamedTuple):
    """What came back; status 0 where nothing did, and then `text` says why."""

    status: int
    text: str

    @property
    def reason(self) -> str:
        """Why it was refused, in a service's own words where it has any."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return str(json.loads(self.text)["error"])
        return self.text.strip()


def ask(
    url: str, body: object = None, headers: Mapping[str, str] | None = None, seconds: float = PROBE_SECONDS
) -> Answer:
    """GET `url`, or POST `body` to it as JSON. Goes past any proxy."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        if body is None:
            connection.request("GET", parts.path, headers=headers or {})
        else:
            given = {"Content-Type": "application/json", **(headers or {})}
            connection.request("POST", parts.path, json.dumps(body), given)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, str(error) or type(error).__name__)
    finally:
        connection.close()


def is_ready(url: str) -> bool:
    """Whether GET `url` answers 200 soon. An empty one: nobody answers, nobody is waited for."""
    return not url or ask(url).status == http.client.OK
