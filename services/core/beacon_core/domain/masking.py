"""Masking of credentials, and the message of an exception: no credential leaves a process.

`mask` is applied to everything that people read: log lines, failures in the store, pages, texts in the registry, spans.
It masks the credentials of this process's environment, in every spelling that libraries quote, and the usual forms of
credentials in a text.
"""

import base64
import functools
import html
import json
import os
import re
import traceback
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
SECRET_NAME = re.compile(
    r"(?:^|_)(?:KEY|TOKEN|SECRET|\w*PASSWORD|PASSWD|PASSPHRASE|PASS|CREDENTIALS?|HEADERS)(?:_|$)", re.IGNORECASE
)
"""A variable is a credential when one of these is among the words of its name, but for the path of a file."""
PATH_NAME = re.compile(r"_(?:FILE|PATH|DIR)$", re.IGNORECASE)
LEAST_LENGTH = 4
"""A shorter credential cannot be distinguished from ordinary text."""
WORD_LENGTH = 8
"""A shorter credential is masked only as a whole word: in `root`, but not in `rooted`."""
IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://([^\s/?#'\"<>]+)@", re.IGNORECASE)
ASSIGNED = re.compile(
    r"(?P<before>(?:password|passwd|\bpwd|passphrase|secret|token|[-_]key|key[-_]id|(?:api|account|access)key|credential"
    r"|signature|\bsig)(?:\s*=\s*['\"]?|['\"]\s*:\s*['\"]|:\s*['\"])"
    r"|(?:authorization|cookie|\bx-[\w-]*(?:key|token))['\"]?\s*[=:]\s*['\"]?)"
    r"(?:(?:Bearer|Basic)\s+)?[^\s,;&'\"\\<>{}()]+",
    re.IGNORECASE,
)
"""`password=...`, `'token': '...'`, `Authorization: ...`; a mere mention of a token is left alone."""
SCHEMES = re.compile(r"\b(?P<scheme>Bearer|bearer|Basic)\s+[\w.~+/=-]{4,}")
ISSUED = re.compile(
    r"\b(?:KGAT_\w+|(?:AKIA|ASIA)[A-Z0-9]{12,}|gh[pousr]_\w{20,}|beacon-key-[\w-]{20,}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*)"
)
JSON_COMMA = r"\u002c"
"""A comma in JSON, where a plain one would end the value."""
OWN = ("beacon_", "feature_repo", "__main__")
PLAIN_LIBRARIES = frozenset(("alembic", "feast", "msgspec", "psycopg", "redis", "sqlite3", "yaml"))
"""Libraries whose exceptions say what went wrong and quote no credential."""


def mask(text: str) -> str:
    """Return the text with `***` in the place of every credential."""
    known = _known(_credentials_of(os.environ))
    if known is not None:
        text = known.sub(MASK, text)
    if "://" in text:
        text = IN_URL.sub(_without_user, text)
    text = ASSIGNED.sub(rf"\g<before>{MASK}", text)
    text = SCHEMES.sub(rf"\g<scheme> {MASK}", text)
    return ISSUED.sub(MASK, text)


def mask_all(value: Any) -> Any:
    """`mask` for every text in lists and mappings."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: mask_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_all(item) for item in value]
    return value


def message_of(error: BaseException) -> str:
    """The message of an exception, on one line and masked.

    Beacon's own exceptions have their whole message. Others may quote a header, an address or the input: those of
    `PLAIN_LIBRARIES` have their message, and all others only their type.
    """
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return _line(error.strerror if error.filename is None else f"{error.filename}: {error.strerror}")
    if isinstance(error, TimeoutError) and not (_is_own(error) and str(error)):
        return "it took too long"
    for name in ("orig", "reason"):  # SQLAlchemy adds the statement and its values, urllib wraps what happened
        original = getattr(error, name, None)
        if isinstance(original, BaseException):
            return message_of(original)
    if _is_own(error) or type(error).__module__.partition(".")[0] in PLAIN_LIBRARIES:
        return _line(str(error)) or type(error).__name__
    return _type(error)


def message_with_type(error: BaseException) -> str:
    """`message_of` after the name of the exception's type, for debugging."""
    name, message = type(error).__name__, message_of(error)
    return message if message.startswith(name) else f"{name}: {message}"


def _is_own(error: BaseException) -> bool:
    """Whether Beacon's code raised it: its class is Beacon's, or the line that raised it is."""
    if type(error).__module__.startswith(OWN):
        return True
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not frames or str(frames[-1].f_globals.get("__name__", "")).startswith(OWN)


def _type(error: BaseException) -> str:
    """A foreign exception by its type, and the library that raised it."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    raised_in = str(frames[-1].f_globals.get("__name__", "")) if frames else ""
    return f"{type(error).__name__} in {raised_in}" if raised_in else type(error).__name__


def _line(text: str) -> str:
    first, _, _ = mask(text).strip().partition("\n")
    return first.strip()


def _without_user(match: re.Match[str]) -> str:
    return match[0].replace(f"{match[1]}@", f"{MASK}@")


def _credentials_of(environment: Mapping[str, str]) -> frozenset[str]:
    """The credentials in an environment's variables: whole, in addresses, in lists of NAME=VALUE."""
    found: set[str] = set()
    for name, text in environment.items():
        if "://" in text:
            found |= _in_address(text)
        if SECRET_NAME.search(name) and not PATH_NAME.search(name):
            found |= set(_parts(text)) if "=" in text and name.upper().endswith("HEADERS") else {text}
        elif "password=" in text.lower():
            found |= set(re.findall(r"password=([^,;&\s]+)", text, re.IGNORECASE))
    return frozenset(found)


def _in_address(text: str) -> set[str]:
    """The password of a URL, also of one whose password should have been quoted."""
    whole, _, _ = text.partition("://")[2].rpartition("@")
    user, _, password = whole.partition(":")
    # A password that is the user's name protects nothing, and may stand in every second line.
    if not password or password == user:
        return set()
    return {password, unquote(password), base64.b64encode(unquote(whole).encode()).decode()}


def _parts(headers: str) -> Iterable[str]:
    """The values of OpenTelemetry's `NAME=VALUE,NAME=VALUE`, and what follows `Bearer`."""
    for item in headers.split(","):
        value = item.partition("=")[2]
        for text in (value, unquote_plus(value)):
            yield text
            yield text.rpartition(" ")[2]


@functools.lru_cache(maxsize=8)
def _known(credentials: frozenset[str]) -> re.Pattern[str] | None:
    """One pattern for all spellings of the credentials, the longest first."""
    spellings = {spelling for text in credentials for spelling in _spellings(text)}
    spellings -= {spelling for spelling in spellings if len(spelling) < LEAST_LENGTH}
    if not spellings:
        return None
    ordered = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
    return re.compile("|".join(_standing(spelling) for spelling in ordered))


def _standing(spelling: str) -> str:
    escaped = re.escape(spelling)
    return escaped if len(spelling) >= WORD_LENGTH else rf"(?<!\w){escaped}(?!\w)"


def _spellings(text: str) -> Iterable[str]:
    """How a credential may appear in a text: whole, line by line, quoted for Python, JSON, HTML or an address."""
    for part in {text, text.strip(), *re.split(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", text)}:
        plain = part.strip()
        yield plain
        yield repr(part)[1:-1]
        yield repr(part.encode("utf-8", "replace"))[2:-1]
        yield from (json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1])
        yield json.dumps(part)[1:-1].replace(",", JSON_COMMA)
        yield html.escape(plain)
        yield from (quote(plain, safe=""), quote_plus(plain))
