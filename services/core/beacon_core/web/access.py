"""Access: which client sent a request, by its API key or its JWT, and whether it may do what it asks.

The keys are one of a setting and those of a file, which is read again when it changes: a mounted Secret can be rotated
without a restart. A file that is wrong then changes nothing: it is logged, counted, and the last good keys count.
"""

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from beacon_core.domain.addresses import is_loopback
from beacon_core.domain.api_keys import (
    ANONYMOUS,
    OPTIONAL_SCOPES,
    ApiKey,
    ApiKeysError,
    Scope,
    digest_of,
    expiries,
)
from beacon_core.domain.errors import BeaconError, ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.domain.token_clients import FIELD, TokenError, UnknownKeyError
from beacon_core.observability import metrics
from beacon_core.platform import clock
from beacon_core.platform.api_keys_file import read_api_keys, read_content
from beacon_core.platform.settings import Settings
from beacon_core.web.http import Request
from beacon_core.web.quotas import HEADER, Quotas

if TYPE_CHECKING:  # what verifies tokens takes a while to import, and a megabyte or five
    from beacon_core.web.tokens import Tokens

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
HOW = "send an API key as X-API-Key or as a Bearer token"
HOW_WITH_JWT = "send an API key as X-API-Key, or it or a JWT as a Bearer token"


class AccessControl:
    """The keys that a service accepts, for `scopes`: those that its routes ask for.

    `own` is the key of a setting, which has all of them: its name and text. Without any key, every scope is open.
    """

    def __init__(
        self, settings: Settings, scopes: frozenset[Scope], own: tuple[str, str], registry: CollectorRegistry
    ) -> None:
        name, text = own
        self._own = (ApiKey(name, digest_of(text.encode()), scopes),) if text else ()
        self._file = settings.api_keys_file
        self._content = b""
        self._problem = self._failure = ""
        self._count = metrics.gauge(metrics.API_KEYS, registry)
        self._failures = metrics.counter(metrics.API_KEYS_FAILURES, registry)
        self._expires = metrics.gauge(metrics.API_KEY_EXPIRES, registry)
        self._tokens = _tokens(settings, registry)
        self._how = HOW if self._tokens is None else HOW_WITH_JWT
        self._quotas = Quotas(registry, clock.timestamp, settings.jwt_quota)
        if self._file is not None:
            self._content = read_content(self._file)
        self._accept(() if self._file is None else read_api_keys(self._file, self._content))
        self.has_keys = bool(self._own) or self._file is not None or self._tokens is not None
        required = [scope for scope in settings.closed_scopes if scope in scopes]
        self._open = frozenset(OPTIONAL_SCOPES) - set(required) if self.has_keys else scopes
        if required and not self.has_keys:
            raise ConfigurationError(
                f"BEACON_CLOSED_SCOPES: a key would be needed for {', '.join(required)}, and none is set "
                "(BEACON_API_KEYS_FILE or BEACON_JWT_ISSUER)"
            )

    def admit(self, request: Request, scope: str, *, asked: bool = False) -> None:
        """Check the key, and take the request of its client's quota; raises BeaconError `quota_exceeded`, too.

        On the event loop, once for each request, and before its body is read. A JWT whose key is not known raises
        `UnknownKeyError`; when `ask_issuer` is done, admit it once more, as `asked`.
        """
        try:
            self.check(request, scope)
        except UnknownKeyError:
            if not asked or scope not in self._open:
                raise
        self._quotas.take_request(request)

    def take_rows(self, request: Request, rows: int) -> None:
        """Take the rows of a request of its client's quota; raises BeaconError where that is used up."""
        self._quotas.take_rows(request, rows)

    def check(self, request: Request, scope: str) -> None:
        """Note whose request it is; raises BeaconError `unauthorized` and `forbidden` unless it may do this."""
        if not self.has_keys:
            return
        sent = _sent(request.headers)
        digest = b"" if sent is None else digest_of(sent)
        key = self._keys.get(digest)
        if key is None and sent is not None and self._tokens is not None and _is_token(sent, request.headers):
            self._check_token(self._tokens, request, scope, sent, digest)
            return
        is_over = key is not None and key.expires is not None and clock.timestamp() >= key.expires
        request.client = ANONYMOUS if key is None else key.name
        if scope in self._open:
            if is_over:
                request.client = ANONYMOUS
            return
        if key is None:
            how = self._how if sent is None else f"the API key is not known; {self._how}"
            raise BeaconError("unauthorized", how, HEADER)
        if is_over and key.expires is not None:
            moment = f"{datetime.fromtimestamp(key.expires, UTC):%Y-%m-%dT%H:%M:%SZ}"
            raise BeaconError("unauthorized", f"the API key of {key.name} expired at {moment}", HEADER)
        if scope not in key.scopes:
            raise BeaconError("forbidden", f"the API key of {key.name} has not the scope {scope}", HEADER)

    def _check_token(self, tokens: "Tokens", request: Request, scope: str, sent: bytes, digest: bytes) -> None:
        request.client = ANONYMOUS
        try:
            client = tokens.client(sent, digest)
        except UnknownKeyError:
            raise
        except TokenError:
            if scope in self._open:
                return
            raise
        request.client = client.name
        if scope not in client.scopes and scope not in self._open:
            raise BeaconError("forbidden", f"the JWT of {client.name} has not the scope {scope}", FIELD)

    async def ask_issuer(self) -> None:
        """Fetch the keys of the JWTs' issuer, as a token names one that is not known."""
        if self._tokens is not None:
            await self._tokens.keys.ask()

    async def watch(self) -> None:
        """Read the file again whenever it changes, and fetch the issuer's keys now and then, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_file())
            if self._tokens is not None:
                group.create_task(self._tokens.keys.watch())

    async def _watch_file(self) -> None:
        while self._file is not None:
            await asyncio.sleep(POLL_SECONDS)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Read the file, and use its keys if they are new; a wrong file is counted for as long as it is there."""
        failure = "" if self._file is None else self._read_new(self._file)
        if failure and failure != self._failure:
            log.error("API keys not read, the last good ones count", extra={"reason": failure})
        self._failure = failure
        if failure:
            self._failures.inc()

    def _read_new(self, file: Path) -> str:
        """Why the file cannot be used; empty where it can."""
        try:
            content = read_content(file)
        except ApiKeysError as error:
            return message_of(error)
        if content != self._content:
            self._content, self._problem = content, ""
            try:
                self._accept(read_api_keys(file, content))
                log.info("API keys read", extra={"keys": len(self._keys)})
            except ApiKeysError as error:
                self._problem = message_of(error)
        return self._problem

    def _accept(self, keys: Iterable[ApiKey]) -> None:
        accepted = (*self._own, *keys)
        self._quotas.accept(accepted)
        self._keys = {key.digest: key for key in accepted}
        self._count.set(len(self._keys))
        self._expires.clear()
        for name, moment in expiries(accepted).items():
            self._expires.labels(name).set(moment)


def check_api_keys(settings: Settings) -> None:
    """Raise ConfigurationError where the settings name a file of API keys that cannot be used, or half an issuer."""
    if settings.api_keys_file is not None:
        read_api_keys(settings.api_keys_file)
    given = {name: bool(getattr(settings, name)) for name in ("jwt_issuer", "jwt_audience", "jwt_jwks_url")}
    if any(given.values()) and not all(given.values()):
        lacking = ", ".join(f"BEACON_{name.upper()}" for name, is_set in given.items() if not is_set)
        raise ConfigurationError(f"{lacking}: must be set, too, where JWTs are to count")


def _tokens(settings: Settings, registry: CollectorRegistry) -> "Tokens | None":
    check_api_keys(settings)
    if not settings.jwt_issuer:
        return None
    if urlsplit(settings.jwt_jwks_url).scheme == "http" and not is_loopback(settings.jwt_jwks_url):
        log.warning("BEACON_JWT_JWKS_URL is not https: whoever is on the way can make tokens that count")
    from beacon_core.web.tokens import Tokens  # noqa: PLC0415 - see above

    return Tokens(settings, registry)


def _is_token(sent: bytes, headers: dict[bytes, bytes]) -> bool:
    return sent.count(b".") == 2 and not headers.get(b"x-api-key")


def _sent(headers: dict[bytes, bytes]) -> bytes | None:
    """The key of a request; X-API-Key wins, as a gateway may use Authorization for itself."""
    if key := headers.get(b"x-api-key"):
        return key
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip() if scheme == b"Bearer" or scheme.lower() == b"bearer" else None
