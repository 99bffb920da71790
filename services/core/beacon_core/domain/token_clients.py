"""Clients that the JWTs of an issuer name: what they are called here, and what their scopes allow."""

import math
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, get_args

from beacon_core.domain.api_keys import ANONYMOUS, NAME, SCOPES, Scope
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.quotas import DAY_RULE, LEAST_RATE, MOST_A_DAY, MOST_RATE, RATE_RULE, Quota

PREFIX = "jwt:"
"""What such a client's name begins with: no API key's name can, so that nobody passes for the client of a key."""
OTHER = f"{PREFIX}other"
"""The metric label of clients beyond those that have one of their own."""
HASHED = "sha256-"
NAMING_CLAIMS = ("azp", "client_id", "sub")
# With the prefix as long as the name of a key may be, which is as wide as the prediction log's column.
PLAIN = re.compile(r"[A-Za-z0-9._@|:/+=~-]{1,59}")
FIELD = "Authorization"
MOST_LEEWAY_SECONDS = 600
TheirScopes = tuple[tuple[str, str], ...]


class TokenError(BeaconError):
    """A token that does not count; the message says why."""

    def __init__(self, rule: str) -> None:
        super().__init__("unauthorized", f"the JWT {rule}", FIELD)


class UnknownKeyError(TokenError):
    """A token whose key is not known: its issuer may have it, if it is asked now."""


def name_of(claims: Mapping[str, Any]) -> str | None:
    """The client's name; None where no claim has one. One that is long or odd is told by its digest."""
    for claim in NAMING_CLAIMS:
        text = claims.get(claim)
        if isinstance(text, str) and text:
            is_plain = PLAIN.fullmatch(text) and not text.startswith(HASHED) and PREFIX + text != OTHER
            digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
            return PREFIX + (text if is_plain else HASHED + digest)
    return None


def is_client_name(text: str) -> bool:
    """Whether a client can be called so: by an API key, or by a JWT."""
    if text.startswith(PREFIX):
        return PLAIN.fullmatch(text.removeprefix(PREFIX)) is not None
    return NAME.fullmatch(text) is not None and text != ANONYMOUS


def scopes_of(claims: Mapping[str, Any], theirs: TheirScopes) -> frozenset[str]:
    """Beacon's scopes that a token has: of its claims `scope` and `scp`, by the map, or by name without one."""
    given = {scope for claim in ("scope", "scp") for scope in _texts(claims.get(claim))}
    return frozenset(ours for name, ours in theirs or zip(SCOPES, SCOPES, strict=True) if name in given)


def read_scope_map(text: str) -> TheirScopes:
    """Pairs THEIRS=OURS, separated by commas; raises ValueError with the rule."""
    pairs = [pair.strip().rpartition("=") for pair in text.split(",") if pair.strip()]
    for theirs, _, ours in pairs:
        if not theirs or any(sign.isspace() for sign in theirs):
            raise ValueError("must be THEIRS=OURS,..., such as beacon.predict=predict")
        if ours not in get_args(Scope):
            raise ValueError(f"{ours[:64]!r} is none of {', '.join(SCOPES)}")
    return tuple((theirs, ours) for theirs, _, ours in pairs)


def read_quota(text: str) -> Quota:
    """Quotas such as requests_per_second=20,rows_per_day=1000000; raises ValueError with the rule."""
    limits: dict[str, float] = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        name, _, number = pair.partition("=")
        if name not in Quota._fields or name in limits:
            raise ValueError(f"{name[:64]!r} must be one of {', '.join(Quota._fields)}, and each once")
        is_day = name.endswith("day")
        least, most, rule = (1, MOST_A_DAY, DAY_RULE) if is_day else (LEAST_RATE, MOST_RATE, RATE_RULE)
        try:
            limits[name] = int(number) if is_day else float(number)
        except ValueError:
            raise ValueError(f"{name} {rule}") from None
        if not least <= limits[name] <= most:
            raise ValueError(f"{name} {rule}")
    return Quota(**limits)  # type: ignore[arg-type]


def read_leeway(text: str) -> float:
    """Seconds that clocks may differ by; raises ValueError with the rule."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MOST_LEEWAY_SECONDS:
        raise ValueError(f"must be 0 to {MOST_LEEWAY_SECONDS} seconds")
    return seconds


def _texts(claim: Any) -> Iterator[str]:
    """Scopes as issuers write them: in one text, or as a list."""
    for each in claim if isinstance(claim, list) else [claim]:
        if isinstance(each, str):
            yield from each.split()
