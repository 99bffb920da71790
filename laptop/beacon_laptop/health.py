"""Asking a service on this machine whether it is ready."""

import http.client
from urllib.parse import urlsplit

PROBE_SECONDS = 2.0


def is_ready(url: str) -> bool:
    """Whether GET `url` answers 200 soon. Goes past any proxy. An empty one: nobody answers, nobody is waited for."""
    if not url:
        return True
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
