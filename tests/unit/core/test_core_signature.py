"""A package is taken where a trusted key has signed its digest, else refused by one line with key ids and rule."""

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.packages import build_package
from support.settings import Settings

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import MANIFEST_FILE, PackageError
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.signature import (
    SIGNATURE_FILE,
    SignatureError,
    Trust,
    read_trusted,
    sign,
    sign_folder,
    signer_of,
    trust_of,
)
from beacon_core.platform.signing_keys import (
    SigningKey,
    SigningKeyError,
    new_private_key,
    private_pem,
    public_of,
    public_pem,
    read_private_key,
    read_public_keys,
    write_key_pair,
)

OURS, NEXT, THEIRS = new_private_key(), new_private_key(), new_private_key()


def trust(*keys: SigningKey, required: bool = True) -> Trust:
    return Trust({key.id: public_of(key.seed) for key in keys}, required)


@pytest.fixture
def pin(tmp_path: Path, product: Product) -> Pin:
    return build_package(tmp_path, product)


@pytest.fixture
def folder(tmp_path: Path, pin: Pin) -> Path:
    return package_folder(tmp_path, pin)


def test_a_signed_package_is_read_with_any_of_the_trusted_keys(folder: Path, pin: Pin) -> None:
    assert sign_folder(folder, OURS, pin.sha256)
    assert read_trusted(folder, pin.sha256, trust(OURS)).sha256 == pin.sha256
    assert read_trusted(folder, pin.sha256, trust(NEXT, OURS)).sha256 == pin.sha256
    assert not sign_folder(folder, OURS, pin.sha256)
    assert sign_folder(folder, NEXT, pin.sha256)
    assert read_trusted(folder, pin.sha256, trust(NEXT)).sha256 == pin.sha256


def test_an_unsigned_package_is_refused_with_keys_and_rule(folder: Path, pin: Pin) -> None:
    ids = ", ".join(sorted([OURS.id, NEXT.id]))
    wanted = f"boston-housing 1: is not signed; one of {ids} must have signed it (BEACON_MODEL_SIGNATURES=required)"
    with pytest.raises(SignatureError, match=f"^{re.escape(wanted)}$"):
        read_trusted(folder, pin.sha256, trust(OURS, NEXT))
    assert read_trusted(folder, pin.sha256, trust(OURS, required=False)).sha256 == pin.sha256


def test_a_package_that_somebody_else_signed_is_refused(folder: Path, pin: Pin) -> None:
    sign_folder(folder, THEIRS, pin.sha256)
    wanted = f"boston-housing 1: is signed by key '{THEIRS.id}'; one of {OURS.id} must have signed it"
    with pytest.raises(SignatureError, match=f"^{re.escape(wanted)}$"):
        read_trusted(folder, pin.sha256, trust(OURS))
    assert read_trusted(folder, pin.sha256, trust(OURS, required=False)).sha256 == pin.sha256


@pytest.mark.parametrize("required", [True, False])
def test_a_wrong_signature_of_a_trusted_key_is_always_refused(folder: Path, pin: Pin, required: bool) -> None:
    (folder / SIGNATURE_FILE).write_bytes(sign(OURS, "0" * 64))
    wanted = f"the signature by key {OURS.id} is not of its digest {pin.sha256}; one of"
    with pytest.raises(SignatureError, match=wanted):
        read_trusted(folder, pin.sha256, trust(OURS, required=required))
    (folder / SIGNATURE_FILE).write_bytes(sign(THEIRS, pin.sha256).replace(THEIRS.id.encode(), OURS.id.encode()))
    with pytest.raises(SignatureError, match="is not of its digest"):
        read_trusted(folder, pin.sha256, trust(OURS, required=required))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"key": 1, "signature": "x"}', b'{"key": "KEY", "signature": "!"}', b"\xff" * 99]
)
def test_a_signature_file_of_other_bytes_is_refused(folder: Path, pin: Pin, content: bytes) -> None:
    (folder / SIGNATURE_FILE).write_bytes(content.replace(b"KEY", OURS.id.encode()))
    with pytest.raises(SignatureError, match=r"boston-housing 1: signature\.json cannot be read: "):
        read_trusted(folder, pin.sha256, trust(OURS))


def test_nothing_is_parsed_before_the_signature_is_checked(folder: Path, pin: Pin) -> None:
    (folder / MANIFEST_FILE).write_bytes(b"no manifest")
    with pytest.raises(SignatureError):
        read_trusted(folder, pin.sha256, trust(OURS))


def test_a_signature_of_a_package_does_not_sign_another_one_in_its_place(folder: Path, pin: Pin) -> None:
    sign_folder(folder, OURS, pin.sha256)
    with (folder / MANIFEST_FILE).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(PackageError, match="sha256 is"):
        read_trusted(folder, pin.sha256, trust(OURS))


def test_a_pair_is_the_owners_alone_and_is_read_back(tmp_path: Path) -> None:
    private, public = tmp_path / "keys" / "private.pem", tmp_path / "keys" / "public.pem"
    key = write_key_pair(private, public)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert read_private_key(private) == key
    assert read_public_keys(public) == {key.id: public_of(key.seed)}
    with pytest.raises(FileExistsError):
        write_key_pair(private, public)
    assert read_private_key(private) == key
    private.chmod(0o644)
    with pytest.raises(SigningKeyError, match=f"{private}: everybody may use it .mode 644.; chmod 600"):
        read_private_key(private)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssls_keys_are_read_and_ours_are_by_it(tmp_path: Path) -> None:
    def openssl(*arguments: object) -> bytes:
        return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout

    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    private.chmod(0o600)
    key = read_private_key(private)
    assert list(read_public_keys(public)) == [key.id]
    openssl("pkey", "-in", private, "-pubout", "-outform", "DER", "-out", tmp_path / "der")
    assert openssl("dgst", "-sha256", "-r", tmp_path / "der").decode()[:16] == key.id
    (tmp_path / "ours.pem").write_text(private_pem(OURS))
    (tmp_path / "theirs.pem").write_bytes(openssl("pkey", "-in", tmp_path / "ours.pem", "-pubout"))
    assert list(read_public_keys(tmp_path / "theirs.pem")) == [OURS.id]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "holds no PUBLIC KEY in PEM"),
        (private_pem(OURS), "holds a PRIVATE KEY, must hold a PUBLIC KEY"),
        (public_pem([b"1" * 31]), "a PUBLIC KEY is not of Ed25519"),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "a PUBLIC KEY is not base64"),
    ],
    ids=["nothing", "a private key", "a short key", "no base64"],  # keys differ in each process of the tests
)
def test_a_bad_file_of_keys_is_refused_with_file_and_rule(tmp_path: Path, text: str, rule: str) -> None:
    file = tmp_path / "keys.pem"
    file.write_text(text)
    with pytest.raises(SigningKeyError, match=f"^{re.escape(str(file))}: {re.escape(rule)}"):
        read_public_keys(file)
    with pytest.raises(SigningKeyError, match="No such file"):
        read_public_keys(tmp_path / "none.pem")


def at(tmp_path: Path, **changes: Any) -> Settings:
    return Settings(home=tmp_path, **changes)


def test_the_settings_say_whom_to_trust(tmp_path: Path) -> None:
    assert trust_of(at(tmp_path)) == Trust({}, required=False)
    assert signer_of(at(tmp_path)) is None
    with pytest.raises(SigningKeyError, match="is not there, and BEACON_MODEL_SIGNATURES is required"):
        trust_of(at(tmp_path, model_signatures="required"))
    with pytest.raises(SigningKeyError, match="No such file"):
        trust_of(at(tmp_path, model_keys_file=tmp_path / "none.pem"))
    settings = at(tmp_path)
    settings.trusted_keys_file.parent.mkdir()
    settings.trusted_keys_file.write_text(public_pem([public_of(OURS.seed), public_of(NEXT.seed)]))
    assert trust_of(settings) == trust(OURS, NEXT)
    assert not trust_of(at(tmp_path, model_signatures="allowed")).required
    with pytest.raises(SigningKeyError, match=r"signing\.pem: is not there, and packages must be signed by one of"):
        signer_of(settings)
    assert signer_of(at(tmp_path, model_signatures="allowed")) is None
    settings.signing_key_file.touch(0o600)
    settings.signing_key_file.write_text(private_pem(OURS))
    assert signer_of(settings) == OURS
    settings.signing_key_file.write_text(private_pem(THEIRS))
    with pytest.raises(SigningKeyError, match=f"signs as key {THEIRS.id}, and packages must be signed by one of"):
        signer_of(settings)


def test_the_library_is_loaded_only_where_it_is_needed() -> None:
    code = "import sys, beacon_core.model_package.signature as s; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
