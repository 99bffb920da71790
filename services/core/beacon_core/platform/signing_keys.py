"""Key files of model signatures: Ed25519 in PEM (RFC 8410), as `openssl genpkey -algorithm ed25519` writes them.

A file of public keys may hold several, one after the other: those that are trusted at once while keys are rotated.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from beacon_core.domain.errors import ConfigurationError
from beacon_core.platform.files import write_atomically

PRIVATE, PUBLIC = "PRIVATE KEY", "PUBLIC KEY"
HEADS = {PRIVATE: bytes.fromhex("302e020100300506032b657004220420"), PUBLIC: bytes.fromhex("302a300506032b6570032100")}
"""What DER writes before the 32 bytes of an Ed25519 key."""
BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)
KEY_BYTES = 32
OTHERS = 0o007
"""The mode's bits of everybody but owner and group: pods read a Secret as its group."""


class SigningKeyError(ConfigurationError):
    """A key file is missing or breaks a rule; the message names file and rule, never a key."""


class SigningKey(NamedTuple):
    """A private key, and the id of its public one."""

    id: str
    seed: bytes


def key_id(public: bytes) -> str:
    """The id of a public key: the first 16 digits of the sha256 of its DER form, as openssl writes it."""
    return hashlib.sha256(HEADS[PUBLIC] + public).hexdigest()[:16]


def read_public_keys(file: Path) -> dict[str, bytes]:
    """The public keys of a file, by their ids; raises `SigningKeyError`."""
    return {key_id(key): key for key in _read(file, PUBLIC)}


def read_private_key(file: Path) -> SigningKey:
    """The one private key of a file that others cannot read; raises `SigningKeyError`."""
    keys = _read(file, PRIVATE)
    if len(keys) != 1:
        raise SigningKeyError(f"{file}: must hold one private key, and holds {len(keys)}")
    if file.stat().st_mode & OTHERS:
        raise SigningKeyError(f"{file}: everybody may use it (mode {file.stat().st_mode & 0o777:o}); chmod 600 {file}")
    return SigningKey(key_id(public_of(keys[0])), keys[0])


def new_private_key() -> SigningKey:
    """A new private key."""
    seed = os.urandom(KEY_BYTES)
    return SigningKey(key_id(public_of(seed)), seed)


def public_of(seed: bytes) -> bytes:
    """The public key of a private one."""
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - it takes a tenth of a second

    return ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def private_pem(key: SigningKey) -> str:
    """A private key as PEM."""
    return _pem(PRIVATE, key.seed)


def public_pem(keys: Sequence[bytes]) -> str:
    """Public keys as PEM, one after the other."""
    return "".join(_pem(PUBLIC, key) for key in keys)


def write_key_pair(private_file: Path, public_file: Path) -> SigningKey:
    """Write a new pair: the private key for its owner alone, where there is no such file; raises OSError."""
    key = new_private_key()
    private_file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(private_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(private_pem(key))
    write_atomically(public_file, public_pem([public_of(key.seed)]).encode())
    return key


def _pem(label: str, key: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(HEADS[label] + key).decode()}\n-----END {label}-----\n"


def _read(file: Path, label: str) -> list[bytes]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SigningKeyError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SigningKeyError(f"{file}: is no PEM") from error
    keys: list[bytes] = []
    for found, content in BLOCK.findall(text):
        if found != label:
            raise SigningKeyError(f"{file}: holds a {found}, must hold a {label}")
        try:
            key = base64.b64decode("".join(content.split()), validate=True)
        except binascii.Error as error:
            raise SigningKeyError(f"{file}: a {label} is not base64") from error
        head = HEADS[label]
        if not key.startswith(head) or len(key) != len(head) + KEY_BYTES:
            raise SigningKeyError(f"{file}: a {label} is not of Ed25519 (openssl genpkey -algorithm ed25519)")
        keys.append(key[len(head) :])
    if not keys:
        raise SigningKeyError(f"{file}: holds no {label} in PEM")
    return keys
