"""What proxies say in headers: the address of the client, and who logged in. Of the named networks alone.

Headers are read as they came, and not from Flask, where `X_Forwarded_User` is `X-Forwarded-User`: a proxy that sets
the one lets the other pass.
"""

import ipaddress
from collections.abc import Sequence

from beacon_core.domain.errors import BeaconError
from beacon_core.platform.settings import Settings
from beacon_core.web.http import Request

FORWARDED_FOR = b"x-forwarded-for"
UNKNOWN = "unknown"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_proxy(request: Request, settings: Settings) -> bool:
    """Whether the request comes straight from one of the proxies."""
    address = _address(_peer(request))
    return address is not None and _is_within(address, settings.proxy_networks)


def client_address(request: Request, settings: Settings) -> str:
    """Where the request came from, before the proxies; of IPv6 the network, which one machine has to itself."""
    peer = _peer(request)
    hops = [peer]
    if is_proxy(request, settings):
        hops += reversed(b",".join(_values(request, FORWARDED_FOR)).decode("latin-1").split(","))
    for hop in hops:
        address = _address(hop.strip())
        if address is None:
            break
        peer = hop.strip()
        if not _is_within(address, settings.proxy_networks):
            break
    found = _address(peer)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return UNKNOWN if found is None else str(found)


def logged_in(request: Request, settings: Settings) -> tuple[str, tuple[str, ...]]:
    """Name and groups of who the proxy logged in; BeaconError where there is nobody, or no proxy said so."""
    if not is_proxy(request, settings):
        raise BeaconError("forbidden", "This console is reached through its proxy alone, which logs people in.")
    name = _one(request, settings.proxy_user_header)
    if not name:
        raise BeaconError("unauthorized", f"The proxy logged nobody in: it sent no {settings.proxy_user_header}.")
    if "," in name:
        raise BeaconError("unauthorized", f"The header {settings.proxy_user_header} names several people.")
    groups = _one(request, settings.proxy_groups_header)
    return name, tuple(group.strip() for group in groups.split(",") if group.strip())


def _one(request: Request, header: str) -> str:
    """A header's text; BeaconError where it is there twice, of which one may be the client's own, or no text."""
    values = _values(request, header.lower().encode("latin-1"))
    if len(values) > 1:
        raise BeaconError("unauthorized", f"The header {header} came twice.")
    try:
        return b"".join(values).decode()
    except UnicodeDecodeError:
        raise BeaconError("unauthorized", f"The header {header} is no text in UTF-8.") from None


def _values(request: Request, name: bytes) -> list[bytes]:
    headers: Sequence[tuple[bytes, bytes]] = request.scope["headers"]
    return [value for field, value in headers if field == name]


def _peer(request: Request) -> str:
    client = request.scope.get("client")
    return str(client[0]) if client else UNKNOWN


def _address(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_within(address: Address, networks: Sequence[str]) -> bool:
    return any(address in ipaddress.ip_network(network) for network in networks)
