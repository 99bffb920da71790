"""A tar of a backup comes back whole, and nothing of it leads out, on a Python with a filter and before it."""

import io
import tarfile
from pathlib import Path

import pytest

from beacon_retraining.backup.errors import BackupError
from beacon_retraining.backup.unpacking import unpack_tar


@pytest.fixture(params=["with Python's filter", "before it"], autouse=True)
def _python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "before it":
        # Where there is no filter, all is taken as it is: Debian's 3.11.2.
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
        as_it_is = staticmethod(lambda member, _path: member)
        monkeypatch.setattr(tarfile.TarFile, "extraction_filter", as_it_is, raising=False)


def packed(folder: Path, **given: object) -> Path:
    """A tar with one file, and one member of that description."""
    file = folder / "home.tar"
    with tarfile.open(file, "w") as archive:
        first = tarfile.TarInfo("models/one")
        first.size = 3
        archive.addfile(first, io.BytesIO(b"one"))
        member = tarfile.TarInfo("other")
        for name, value in given.items():
            setattr(member, name, value)
        archive.addfile(member)
    return file


def test_files_folders_and_links_come_back(tmp_path: Path) -> None:
    unpack_tar(packed(tmp_path, name="newest", type=tarfile.SYMTYPE, linkname="models/one"), tmp_path / "home")
    assert (tmp_path / "home/models/one").read_bytes() == b"one"
    assert (tmp_path / "home/newest").read_bytes() == b"one"


@pytest.mark.parametrize(
    "given",
    [
        {"name": "../outside"},
        {"name": "models/../../outside"},
        {"name": "/tmp/outside"},
        {"type": tarfile.SYMTYPE, "linkname": "../outside"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc"},
        {"name": "models/link", "type": tarfile.SYMTYPE, "linkname": "../../outside"},
        {"type": tarfile.LNKTYPE, "linkname": "../outside"},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.CHRTYPE},
    ],
)
def test_what_leads_out_is_refused_before_anything_is_unpacked(tmp_path: Path, given: dict[str, object]) -> None:
    file = packed(tmp_path, **given)
    with pytest.raises(BackupError, match=r"^home\.tar cannot be unpacked: "):
        unpack_tar(file, tmp_path / "home")
    assert list((tmp_path / "home").iterdir()) == []
    assert not (tmp_path / "outside").exists()
