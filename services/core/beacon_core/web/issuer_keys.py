"""The public keys of an issuer of JWTs (a JWKS, RFC 7517), fetched by HTTP and kept.

They are fetched every few minutes, and where a token names a key that is not known, at most once a minute. An issuer
that is away changes nothing: the last keys count.
"""

import asyncio
import http.client
import logging
import math
import time
import urllib.request
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from jwt import PyJWK
from jwt.exceptions import PyJWTError
from prometheus_client import CollectorRegistry

from beacon_core.domain.masking import message_of
from beacon_core.observability import metrics

log = logging.getLogger(__name__)

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
LEAST_RSA_BITS = 2048
FETCH_SECONDS = 5.0
EVERY_SECONDS = 300.0
RETRY_SECONDS = 10.0
UNKNOWN_SECONDS = 60.0
"""How long after one fetch for a key that was not known until the next."""
MOST_BYTES = 1 << 20
MOST_KEYS = 100


class IssuerKey(NamedTuple):
    """A public key, and the one algorithm that it is for."""

    key: PyJWK
    algorithm: str


class KeySetError(ValueError):
    """What the issuer answered is no set of keys."""


class IssuerKeys:
    """The keys at `url`; `changed` is called when they are others than before."""

    def __init__(self, url: str, registry: CollectorRegistry, changed: Callable[[], None]) -> None:
        self._url = url
        self._changed = changed
        self._content: bytes | None = None
        self._keys: dict[str | None, IssuerKey] = {}
        self._failure = ""
        self._asked = -math.inf
        self._fetching: asyncio.Task[None] | None = None
        self._count = metrics.gauge(metrics.ISSUER_KEYS, registry)
        self._failures = metrics.counter(metrics.ISSUER_KEYS_FAILURES, registry)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, name: str | None) -> IssuerKey | None:
        """The key of that name (kid); the only one for a token that names none."""
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(name)

    def may_ask(self) -> bool:
        """Whether it helps to ask the issuer for a key that is not known, and is not too soon after the last time."""
        return self._fetching is not None or time.monotonic() - self._asked >= UNKNOWN_SECONDS

    async def ask(self) -> None:
        """Fetch the keys, for a token that names one that is not known."""
        self._asked = time.monotonic()
        await self.fetch()

    async def watch(self) -> None:
        """Fetch the keys now and then, for ever."""
        while True:
            await self.fetch()
            await asyncio.sleep(RETRY_SECONDS if self._failure else EVERY_SECONDS)

    async def fetch(self) -> None:
        """Fetch the keys; several that ask at a time wait for one fetch. A failure is logged and counted."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        await asyncio.shield(self._fetching)

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        failure = ""
        try:
            content = await asyncio.to_thread(_get, self._url)
            if content != self._content:
                self._keys = read_key_set(content)
                self._content = content
                self._changed()
                self._count.set(len(self._keys))
                log.info("keys of the JWTs' issuer fetched", extra={"keys": len(self._keys)})
        except (OSError, http.client.HTTPException, ValueError) as error:
            failure = message_of(error) or type(error).__name__
            self._failures.inc()
            if failure != self._failure:
                log.error("keys of the JWTs' issuer not fetched, the last ones count", extra={"reason": failure})
        self._failure = failure


def read_key_set(content: bytes) -> dict[str | None, IssuerKey]:
    """The keys of a JWKS that can verify a token, by name; raises `KeySetError`."""
    try:
        found = msgspec.json.decode(content, type=dict[str, Any])["keys"]
        given = [each for each in found if isinstance(each, dict)]
    except (msgspec.DecodeError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise KeySetError("the issuer's answer is no JSON Web Key Set") from error
    keys: dict[str | None, IssuerKey] = {}
    for each in given[:MOST_KEYS]:
        name = each.get("kid")
        key = _usable(each)
        if key is not None and (name is None or isinstance(name, str)):
            keys[name] = key
    if not keys:
        raise KeySetError(f"the issuer's JSON Web Key Set has no key for {', '.join(sorted(ALGORITHMS))}")
    return keys


def _usable(facts: dict[str, Any]) -> IssuerKey | None:
    """A public key for one of the algorithms; None for all others: of encryption, symmetric, or too short."""
    if facts.get("use", "sig") != "sig" or facts.get("kty") == "oct":
        return None
    try:
        key = PyJWK({name: value for name, value in facts.items() if name != "d"})
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    if key.algorithm_name not in ALGORITHMS or getattr(key.key, "key_size", LEAST_RSA_BITS) < _least_bits(facts):
        return None
    return IssuerKey(key, key.algorithm_name)


def _least_bits(facts: dict[str, Any]) -> int:
    return LEAST_RSA_BITS if facts.get("kty") == "RSA" else 0


def _get(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - the operator's address
    with urllib.request.urlopen(request, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - the operator's address
        content: bytes = answer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise KeySetError(f"the issuer's answer is larger than {MOST_BYTES} bytes")
    return content
