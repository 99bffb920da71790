"""The release file: plain names only, replaced in one step."""

import threading

import msgspec
import pytest

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release, ReleaseError, package_folder, read_release, write_release

PIN = Pin("boston-housing", "1", "a" * 64)


def test_what_was_written_is_read(tmp_path):
    for release in (Release(PIN), Release(PIN, Pin("boston-housing", "2", "b" * 64))):
        write_release(tmp_path / "deep" / "release.json", release)
        assert read_release(tmp_path / "deep" / "release.json") == release
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["release.json"], "no draft is left"


BAD_NAMES = [
    "../x", "..", ".", "", "/abs", "a/b", "a\\b", "A", "a.b", "a b", "-a", "_a", "a" * 64, "a\n", "a\0", "ä", "%2e%2e",
    "\u2024\u2024", "x" * 4096,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("which", ["model", "shadow"])
@pytest.mark.parametrize("part", ["name", "version"])
def test_a_name_that_could_leave_the_models_folder_is_refused(tmp_path, name, which, part):
    pins = {"model": PIN, "shadow": PIN} | {which: msgspec.structs.replace(PIN, **{part: name})}
    write_release(tmp_path / "release.json", Release(**pins))
    with pytest.raises(ReleaseError, match="not a valid name"):
        read_release(tmp_path / "release.json")


@pytest.mark.parametrize("name", ["a", "1", "boston-housing", "v_2", "a" * 63])
def test_a_plain_name_stays_below_the_models_folder(tmp_path, name):
    write_release(tmp_path / "release.json", Release(Pin(name, name, "0")))
    pin = read_release(tmp_path / "release.json").model
    assert package_folder(tmp_path, pin) == tmp_path / name / name


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"model": {"name": "a", "version": "1"}}', b'{"modle": {}}']
)
def test_a_file_that_is_no_release_is_refused_by_name(tmp_path, content):
    (tmp_path / "release.json").write_bytes(content)
    with pytest.raises(ReleaseError, match=r"release\.json"):
        read_release(tmp_path / "release.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ReleaseError, match=r"release\.json: No such file"):
        read_release(tmp_path / "release.json")


def test_a_reader_sees_the_old_or_the_new_and_nothing_between(tmp_path):
    file = tmp_path / "release.json"
    releases = [Release(Pin("m", str(number), "0" * 64)) for number in range(50)]
    write_release(file, releases[0])
    writer = threading.Thread(target=lambda: [write_release(file, release) for release in releases])
    writer.start()
    seen = [int(read_release(file).model.version) for _ in range(500)]
    writer.join()
    assert set(seen) <= set(range(50))
