"""What counts as an address. Each function raises `ValueError` with the rule, and quotes no address."""

import unicodedata
from urllib.parse import urlsplit


def host(text: str) -> str:
    """A host's name or address."""
    check_text(text)
    if any(sign.isspace() for sign in text) or "/" in text:
        raise ValueError("is not a host's name or address")
    return text


def http_address(text: str) -> str:
    """The address of a service, without a slash at its end."""
    parts = urlsplit(http_url(text))
    if parts.query or parts.fragment:
        raise ValueError("is an address with a query or a fragment; http://HOST:PORT is wanted")
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


def check_text(text: str) -> None:
    """Refuse what comes of a file read whole, a copied line or a wrong encoding."""
    if text != text.strip():
        raise ValueError("begins or ends with a blank or a line break")
    # Cs: what is no UTF-8, as Python keeps it.
    if any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in text):
        raise ValueError("holds a line break, or what is no text in UTF-8")
