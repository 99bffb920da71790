"""Who made a package: an Ed25519 signature of its digest, in a file beside it, and the keys that readers trust.

The digest pins every byte of the package, product and version included, so the signature is of these, too.
Trust comes from the public keys that the settings name: never from the package, from MLflow or from one of its tags.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from beacon_core.model_package.manifest import MANIFEST_FILE, Package, PackageError, digest, read_package
from beacon_core.platform.files import write_atomically
from beacon_core.platform.settings import Settings
from beacon_core.platform.signing_keys import SigningKey, SigningKeyError, read_private_key, read_public_keys

SIGNATURE_FILE = "signature.json"
CONTEXT = "beacon model package 1"
"""So that no other signature of the same key is one of a package."""
MOST_SHOWN = 64


class SignatureError(PackageError):
    """The package is not signed, or not by a trusted key; the message names the key ids and the rule."""


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of signature.json: the id of the key, and the signature in base64."""

    key: str
    signature: str


class Trust(NamedTuple):
    """The public keys by their ids, and whether a package must be signed by one of them."""

    keys: Mapping[str, bytes]
    required: bool

    def check(self, name: str, sha256: str, content: bytes | None) -> None:
        """Check the content of the signature file (None: there is none) of a digest; raises `SignatureError`.

        A signature by a trusted key must always be right. One is only missed where signatures are required.
        """
        trusted = f"one of {', '.join(sorted(self.keys)) or '(no key)'} must have signed it"
        if content is None:
            if self.required:
                raise SignatureError(f"{name}: is not signed; {trusted} (BEACON_MODEL_SIGNATURES=required)")
            return
        try:
            found = msgspec.json.decode(content, type=Signature)
            signed = base64.b64decode(found.signature, validate=True)
        except (msgspec.DecodeError, binascii.Error, ValueError) as error:
            raise SignatureError(f"{name}: {SIGNATURE_FILE} cannot be read: {error}; {trusted}") from error
        key = self.keys.get(found.key)
        if key is None:
            if self.required:
                raise SignatureError(f"{name}: is signed by key {found.key[:MOST_SHOWN]!r}; {trusted}")
            return
        if not _is_signed(key, sha256, signed):
            raise SignatureError(f"{name}: the signature by key {found.key} is not of its digest {sha256}; {trusted}")


DIGEST_ALONE = Trust({}, required=False)
"""For packages that this process has made itself, and whose digest it knows."""


def trust_of(settings: Settings) -> Trust:
    """The keys of the settings' file; raises `SigningKeyError`.

    Without a word on signatures they are required where there is a file of keys. The file is read each time.
    """
    file, said = settings.trusted_keys_file, settings.model_signatures
    if settings.model_keys_file is None and not file.exists():
        if said == "required":
            raise SigningKeyError(f"{file}: is not there, and BEACON_MODEL_SIGNATURES is required")
        return DIGEST_ALONE
    return Trust(read_public_keys(file), required=said != "allowed")


def signer_of(settings: Settings) -> SigningKey | None:
    """The key that signs here; None where readers of the same settings take packages without a signature.

    Raises `SigningKeyError` where they would refuse what is made here.
    """
    trust, file = trust_of(settings), settings.signing_key_file
    if settings.model_signing_key_file is None and not file.exists():
        if trust.required:
            raise SigningKeyError(
                f"{file}: is not there, and packages must be signed by one of {', '.join(sorted(trust.keys))}"
            )
        return None
    key = read_private_key(file)
    if trust.required and key.id not in trust.keys:
        raise SigningKeyError(
            f"{file}: signs as key {key.id}, and packages must be signed by one of {', '.join(sorted(trust.keys))}"
        )
    return key


def sign(key: SigningKey, sha256: str) -> bytes:
    """The content of the signature file of a package with this digest."""
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - it takes a tenth of a second

    signed = ed25519.Ed25519PrivateKey.from_private_bytes(key.seed).sign(_message(sha256))
    return msgspec.json.encode(Signature(key.id, base64.b64encode(signed).decode()))


def read_trusted(folder: Path, sha256: str, trust: Trust) -> Package:
    """Check the signature, then every digest, then parse; raises `PackageError`."""
    trust.check(f"{folder.parent.name} {folder.name}", sha256, signature_in(folder))
    return read_package(folder, sha256)


def signature_in(folder: Path) -> bytes | None:
    """The content of a package's signature file; None where there is none. Raises `SignatureError`."""
    try:
        return (folder / SIGNATURE_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SignatureError(f"{folder.name}/{SIGNATURE_FILE}: {error.strerror}") from error


def sign_folder(folder: Path, key: SigningKey, wanted: str) -> bool:
    """Sign a package here whose digest is `wanted`; False where it is another one, or is signed by the key already."""
    file = folder / MANIFEST_FILE
    if not file.is_file() or digest(file.read_bytes()) != wanted:
        return False
    content = sign(key, wanted)
    if signature_in(folder) == content:
        return False
    write_atomically(folder / SIGNATURE_FILE, content)
    return True


def _message(sha256: str) -> bytes:
    return f"{CONTEXT}\n{sha256}\n".encode()


def _is_signed(key: bytes, sha256: str, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signed, _message(sha256))
    except (InvalidSignature, ValueError):
        return False
    return True
