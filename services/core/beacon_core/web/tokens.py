"""JWTs as clients' keys: verified once, with the keys of their issuer, and known by their digest until they end."""

import threading
import time
from datetime import UTC, datetime

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)
from prometheus_client import CollectorRegistry

from beacon_core.domain import token_clients
from beacon_core.domain.api_keys import ApiKey, digest_of
from beacon_core.domain.token_clients import TokenError, UnknownKeyError
from beacon_core.platform.settings import Settings
from beacon_core.web.issuer_keys import ALGORITHMS, IssuerKey, IssuerKeys

MOST_BYTES = 8192
MOST_TOKENS = 10_000
"""Tokens that are known at a time; beyond, the oldest is verified again."""
WORDS: dict[type[Exception], str] = {
    ImmatureSignatureError: "is not valid yet",
    InvalidAudienceError: "is for another audience",
    InvalidIssuerError: "is of another issuer",
    InvalidSignatureError: "has a wrong signature",
}


class Tokens:
    """The tokens of one issuer, for one audience."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._issuer, self._audience = settings.jwt_issuer, settings.jwt_audience
        self._leeway = settings.jwt_leeway_seconds
        self._scopes = settings.jwt_scopes
        self.quota = settings.jwt_quota
        self._known: dict[bytes, ApiKey] = {}
        self._lock = threading.Lock()
        self.keys = IssuerKeys(settings.jwt_jwks_url, registry, self._forget)

    def client(self, token: bytes, digest: bytes) -> ApiKey:
        """Whose token it is, and what it allows; `digest` is the token's. Raises `TokenError`."""
        known = self._known.get(digest)
        if known is None:
            known = self._verify(token)
            with self._lock:
                if len(self._known) >= MOST_TOKENS:
                    del self._known[next(iter(self._known))]
                self._known[digest] = known
        elif known.expires is not None and time.time() >= known.expires:
            with self._lock:
                self._known.pop(digest, None)
            raise _expired(known.expires - self._leeway)
        return known

    def _forget(self) -> None:
        """Verify every token anew: the key of one of them may have been withdrawn."""
        with self._lock:
            self._known.clear()

    def _verify(self, token: bytes) -> ApiKey:
        if len(token) > MOST_BYTES:
            raise TokenError(f"is longer than {MOST_BYTES} bytes")
        try:
            key = self._key(token)
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
            name = token_clients.name_of(claims)
            expires = float(claims["exp"])
        except ExpiredSignatureError as error:
            raise TokenError("expired") from error
        except MissingRequiredClaimError as error:
            raise TokenError(f"lacks the claim {error.claim}") from error
        except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenError(WORDS.get(type(error), "cannot be read")) from error
        if name is None:
            raise TokenError(f"names no client: it has none of {', '.join(token_clients.NAMING_CLAIMS)}")
        scopes = token_clients.scopes_of(claims, self._scopes)
        return ApiKey(name, digest_of(token), scopes, expires + self._leeway, self.quota)

    def _key(self, token: bytes) -> IssuerKey:
        header = jwt.get_unverified_header(token)
        algorithm, name = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise TokenError(f"must be signed by {', '.join(sorted(ALGORITHMS))}")
        key = self.keys.find(name)
        if key is None:
            kind = UnknownKeyError if self.keys.may_ask() else TokenError
            raise kind("is signed by a key that its issuer does not have" if len(self.keys) else UNREACHED)
        if key.algorithm != algorithm:
            raise TokenError(f"is signed by {algorithm}, and its key is for {key.algorithm}")
        return key


UNREACHED = "cannot be checked: its issuer's keys could not be fetched yet"


def _expired(moment: float) -> TokenError:
    return TokenError(f"expired at {datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}")
