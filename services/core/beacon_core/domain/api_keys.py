"""Named API keys: who a client is, and what it may do.

A key is 256 random bits, and what is kept of it is its plain SHA-256. A slow hash (bcrypt, Argon2) guards passwords,
which people choose and others guess; nobody guesses 256 random bits, and a slow hash would cost every request
milliseconds. A key is found by its digest: how long that takes depends on the digest, which no client can choose, so
it tells nothing about the keys.
"""

import re
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec

from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.quotas import DAY_RULE, LEAST_RATE, MOST_A_DAY, MOST_RATE, RATE_RULE, UNLIMITED, Quota
from beacon_core.domain.spec import Spec
from beacon_core.domain.times import read_date, read_time
from beacon_core.domain.yaml_text import explain, shown_key

Scope = Literal["predict", "explain", "actuals", "read_log", "synthetic", "features", "push", "materialize"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
OPTIONAL_SCOPES: tuple[Scope, ...] = ("predict", "explain", "features")
"""Scopes that need a key only where a setting says so. The others need one wherever any key is set."""

ANONYMOUS, SINGLE_KEY, FEATURE_TOKEN = "anonymous", "api-key", "feature-token"
RESERVED = frozenset({ANONYMOUS, SINGLE_KEY, FEATURE_TOKEN})
NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
NAME_RULE = "must be 1 to 63 small letters, digits or ._- , and begin and end with a letter or digit"
DIGEST = re.compile(r"[0-9a-f]{64}")
PREFIX = "beacon-key-"
"""What a new key begins with, so that masking and scanners for leaked secrets recognise it."""
KEY_BYTES = 32


class ApiKeysError(ConfigurationError):
    """A file of API keys breaks a rule; the message is `FILE: KEY: RULE`."""

    def __init__(self, file: Path, key: str, rule: str) -> None:
        super().__init__(f"{file}: {shown_key(key)}: {rule}")


class ApiKeyEntry(Spec, frozen=True):
    """An entry of the file."""

    name: str
    sha256: str
    scopes: list[Scope]
    expires: str | None = None
    requests_per_second: float | None = None
    rows_per_second: float | None = None
    requests_per_day: int | None = None
    rows_per_day: int | None = None


class ApiKeysFile(Spec, frozen=True):
    """The file of API keys."""

    keys: list[ApiKeyEntry]


class ApiKey(NamedTuple):
    """A key that is accepted; `expires` is in seconds since 1970."""

    name: str
    digest: bytes
    scopes: frozenset[str]
    expires: float | None = None
    quota: Quota = UNLIMITED


def digest_of(key: bytes) -> bytes:
    """What is kept of a key."""
    return sha256(key).digest()


def known_client(name: str) -> str | None:
    """The name of a request's client, None where no key was accepted."""
    return name if name and name != ANONYMOUS else None


def new_key() -> str:
    """Make a key."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def read_expiry(text: str) -> datetime:
    """The moment of an RFC 3339 time, or the beginning (UTC) of a date; raises ValueError with the rule."""
    try:
        day = read_date(text)
    except ValueError:
        return read_time(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def read_optional_scopes(text: str) -> tuple[Scope, ...]:
    """Some of `OPTIONAL_SCOPES`, separated by commas; raises ValueError with the rule."""
    given = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := next((name for name in given if name not in OPTIONAL_SCOPES), None):
        raise ValueError(f"{unknown[:64]!r} is none of {', '.join(OPTIONAL_SCOPES)}")
    return tuple(scope for scope in OPTIONAL_SCOPES if scope in given)


def parse_api_keys(file: Path, raw: object) -> tuple[ApiKey, ...]:
    """Check the content of a file of API keys; raises `ApiKeysError`. A name may have several keys, for rotation."""
    if raw is None:
        raise ApiKeysError(file, "(file)", "is empty; it needs the list `keys`")
    try:
        entries = msgspec.convert(raw, ApiKeysFile).keys
    except msgspec.ValidationError as error:
        key, rule = explain(error, raw, ApiKeysFile)
        raise ApiKeysError(file, key or "(top)", rule) from error
    if not entries:
        raise ApiKeysError(file, "keys", "must have at least one key")
    places: dict[bytes, int] = {}
    named: dict[str, int] = {}
    keys: list[ApiKey] = []
    for place, entry in enumerate(entries):
        for key, holds, rule in _rules(entry):
            if not holds:
                raise ApiKeysError(file, f"keys[{place}].{key}", rule)
        digest = bytes.fromhex(entry.sha256)
        if (earlier := places.setdefault(digest, place)) != place:
            raise ApiKeysError(file, f"keys[{place}].sha256", f"is the digest of keys[{earlier}], too")
        quota = Quota(*[getattr(entry, name) for name in Quota._fields])
        first = named.setdefault(entry.name, place)
        for name, own, other in zip(Quota._fields, quota, keys[first].quota if first < place else quota, strict=True):
            if own != other:
                rule = f"must be that of keys[{first}], which is of the same client: its keys share their quota"
                raise ApiKeysError(file, f"keys[{place}].{name}", rule)
        keys.append(ApiKey(entry.name, digest, frozenset(entry.scopes), _expiry(file, place, entry), quota))
    return tuple(keys)


def expiries(keys: Iterable[ApiKey]) -> dict[str, float]:
    """When the last key of each name expires; a name that has a key without an end is left out."""
    ends: dict[str, float] = {}
    for key in keys:
        end = float("inf") if key.expires is None else key.expires
        ends[key.name] = max(end, ends.get(key.name, end))
    return {name: end for name, end in ends.items() if end != float("inf")}


def _rules(entry: ApiKeyEntry) -> Iterator[tuple[str, bool, str]]:
    yield "name", NAME.fullmatch(entry.name) is not None, NAME_RULE
    yield "name", entry.name not in RESERVED, f"must not be {' or '.join(sorted(RESERVED))}, which Beacon uses itself"
    yield "sha256", DIGEST.fullmatch(entry.sha256) is not None, "must be 64 hexadecimal digits in small letters"
    yield "sha256", entry.sha256 != sha256(b"").hexdigest(), "is the digest of nothing"
    yield "scopes", bool(entry.scopes), f"must name at least one of {', '.join(SCOPES)}"
    yield "scopes", len(set(entry.scopes)) == len(entry.scopes), "must not name one twice"
    for name in Quota._fields:
        limit = getattr(entry, name)
        least, most, rule = (1, MOST_A_DAY, DAY_RULE) if name.endswith("day") else (LEAST_RATE, MOST_RATE, RATE_RULE)
        yield name, limit is None or least <= limit <= most, rule


def _expiry(file: Path, place: int, entry: ApiKeyEntry) -> float | None:
    if entry.expires is None:
        return None
    try:
        return read_expiry(entry.expires).timestamp()
    except ValueError as error:
        raise ApiKeysError(file, f"keys[{place}].expires", f"{error}") from error
