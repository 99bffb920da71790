"""The model package: one digest pins every byte, and nothing is parsed that was not digested first."""

import msgspec
import pytest
from support.packages import build_package

from beacon_core.model_package.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    Manifest,
    PackageError,
    digest,
    read_package,
    write_manifest,
)
from beacon_core.model_package.release import package_folder


@pytest.fixture
def package(tmp_path, product):
    """Folder and digest of a whole package."""
    pin = build_package(tmp_path, product)
    return package_folder(tmp_path, pin), pin.sha256


def rewritten(folder, **changes):
    """The same folder under another manifest; its digest."""
    manifest = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
    return write_manifest(folder, msgspec.structs.replace(manifest, **changes))


def test_a_whole_package_is_read_byte_for_byte(package, product):
    folder, sha256 = package
    found = read_package(folder, sha256)
    assert found.sha256 == sha256 == digest((folder / MANIFEST_FILE).read_bytes())
    assert found.model == (folder / MODEL_FILE).read_bytes()
    assert tuple(feature.name for feature in found.manifest.features) == product.feature_names


def test_the_manifest_is_written_the_same_every_time(package):
    folder, sha256 = package
    assert rewritten(folder) == sha256


@pytest.mark.parametrize("name", [MODEL_FILE, MANIFEST_FILE])
def test_one_flipped_bit_anywhere_is_refused(package, name):
    folder, sha256 = package
    content = (folder / name).read_bytes()
    for position in (0, len(content) // 2, len(content) - 1):
        flipped = bytearray(content)
        flipped[position] ^= 1
        (folder / name).write_bytes(flipped)
        with pytest.raises(PackageError, match=f"{name}: sha256 is"):
            read_package(folder, sha256)


@pytest.mark.parametrize("name", [MODEL_FILE, MANIFEST_FILE])
def test_a_truncated_or_missing_file_is_refused_by_name(package, name):
    folder, sha256 = package
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(PackageError, match=f"{name}: sha256 is"):
        read_package(folder, sha256)
    (folder / name).unlink()
    with pytest.raises(PackageError, match=f"{name}: No such file"):
        read_package(folder, sha256)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/model.onnx", "..", "", "a\0b"])
def test_a_manifest_cannot_name_a_file_outside_its_folder(package, name):
    folder, _ = package
    (folder.parent / "secret").write_bytes(b"x")
    sha256 = rewritten(folder, files={MODEL_FILE: digest((folder / MODEL_FILE).read_bytes()), name: digest(b"x")})
    with pytest.raises(PackageError):
        read_package(folder, sha256)


def test_a_manifest_that_does_not_list_its_model_is_refused(package):
    folder, _ = package
    with pytest.raises(PackageError, match=r"does not list model\.onnx"):
        read_package(folder, rewritten(folder, files={}))


def test_a_manifest_of_another_version_is_refused(package):
    folder, _ = package
    with pytest.raises(PackageError, match="version 2, this build reads 1"):
        read_package(folder, rewritten(folder, manifest_version=2))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"manifest_version": 1}', b"\xff", b'{"product":"\xff"}'])
def test_a_digested_file_that_is_no_manifest_is_refused(package, content):
    folder, _ = package
    (folder / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(PackageError, match=MANIFEST_FILE):
        read_package(folder, digest(content))


def test_an_unknown_key_in_the_manifest_is_refused(package):
    folder, _ = package
    content = (folder / MANIFEST_FILE).read_bytes().replace(b'"algorithm"', b'"command": "x", "algorithm"', 1)
    (folder / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(PackageError, match="command"):
        read_package(folder, digest(content))
