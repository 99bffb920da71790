"""Checks of HTTP settings: CORS origins, the path below which a proxy serves a service, and what a login needs.

Each function raises `ValueError` with the rule.
"""

import ipaddress
import math
import re

ANY = "*"
ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
USUAL_PORTS = {"http": "80", "https": "443"}
HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
MOST_SESSION_HOURS = 720
# Plain segments alone: `//host` would lead to another site, and the path goes into pages and headers.
PATH = re.compile(r"(?:/[A-Za-z0-9_~.-]+)+")


def origins(text: str) -> tuple[str, ...]:
    """Origins as browsers send them, separated by commas; or `*` alone, for all origins."""
    given = [each.strip().lower() for each in text.split(",") if each.strip()]
    if ANY in given and len(given) > 1:
        raise ValueError("* allows every origin, so it must be the only entry")
    return tuple(each if each == ANY else _origin(each) for each in given)


def _origin(text: str) -> str:
    parts = ORIGIN.fullmatch(text)
    if parts is None or int(parts[3] or 0) > 65535:
        raise ValueError(
            f"{text[:64]!r} is not an origin: write https://HOST or https://HOST:PORT, without a path, or *"
        )
    scheme, host, port = parts.groups()
    return f"{scheme}://{host}" if port in {None, USUAL_PORTS[scheme]} else f"{scheme}://{host}:{port}"


def forwarded_prefix(header: bytes) -> str:
    """The path that proxies stripped, from X-Forwarded-Prefix, the outer proxy first; empty if it is invalid."""
    try:
        return "".join(path_prefix(part) for part in header.decode("latin-1").split(","))
    except ValueError:
        return ""


def path_prefix(text: str) -> str:
    """A path prefix such as /beacon, without a slash at its end; empty for / alone."""
    path = text.strip().rstrip("/")
    if path and (PATH.fullmatch(path) is None or {".", ".."} & set(path.split("/"))):
        raise ValueError(f"{text[:64]!r} is not a path such as /beacon: letters, digits and _~.- between slashes")
    return path


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(each.strip() for each in text.split(",") if each.strip())


def networks(text: str) -> tuple[str, ...]:
    """Networks such as 10.0.0.0/8, or single addresses, separated by commas."""
    found = []
    for each in names(text):
        try:
            found.append(str(ipaddress.ip_network(each)))
        except ValueError:
            raise ValueError(f"{each[:64]!r} is not a network such as 10.0.0.0/8, or an address") from None
    return tuple(found)


def header_name(text: str) -> str:
    """The name of a header."""
    if HEADER_NAME.fullmatch(text.strip()) is None:
        raise ValueError(f"{text[:64]!r} is not the name of a header, such as X-Forwarded-User")
    return text.strip()


def session_hours(text: str) -> float:
    """How long a login may last."""
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours <= MOST_SESSION_HOURS:
        raise ValueError(f"must be above 0, and {MOST_SESSION_HOURS} at most")
    return hours
