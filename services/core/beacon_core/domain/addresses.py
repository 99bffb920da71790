"""Checks of hosts and URLs. Each function raises `ValueError` with the rule, and quotes no address."""

import ipaddress
import re
import unicodedata
from urllib.parse import urlsplit

SPARK_MASTER = re.compile(r"local(\[([1-9]\d*|\*)(, *[1-9]\d*)?\])?|spark://\S+:\d+|k8s://(https?://)?\S+|yarn")


def host(text: str) -> str:
    """A host's name or address; an address of IPv6 without the brackets that it may have."""
    check_text(text)
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if any(sign.isspace() for sign in bare) or "/" in bare or (":" in bare and not _is_ipv6(bare)):
        raise ValueError("is not a host's name or address, such as localhost, 0.0.0.0 or ::")
    return bare


def in_url(host: str) -> str:
    """A host's name or address as URLs have it: an address of IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def http_address(text: str) -> str:
    """The address of a service, without a slash at its end."""
    parts = urlsplit(http_url(text))
    if parts.query or parts.fragment:
        raise ValueError("has a query or a fragment; it must be http://HOST:PORT")
    return text.rstrip("/")


def http_url(text: str) -> str:
    """A URL of HTTP."""
    check_text(text)
    try:
        parts = urlsplit(text)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or any(sign.isspace() for sign in text):
        raise ValueError("is not an address such as http://HOST:PORT")
    return text


def spark_master(text: str) -> str:
    """Where Spark runs: on this machine's cores, or on a cluster that is there."""
    check_text(text)
    if not SPARK_MASTER.fullmatch(text):
        raise ValueError("is not local[CORES], spark://HOST:PORT, k8s://https://HOST:PORT or yarn")
    return text


def is_loopback(url: str) -> bool:
    """Whether a URL is of this machine alone."""
    name = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def check_text(text: str) -> None:
    """Refuse spaces around a text, control characters and text that is not UTF-8."""
    if text != text.strip():
        raise ValueError("begins or ends with a space or a line break")
    # Cs: surrogates, by which Python keeps bytes that are not UTF-8.
    if any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in text):
        raise ValueError("contains a control character, or is not text in UTF-8")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
