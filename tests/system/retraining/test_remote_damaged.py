"""A DVC remote in which something is not whole: a pull names the file and touches nothing, a push puts it right.

Reported of DVC: a truncated object is taken for whole because it is there, an object that is gone for pushed because
the list of its folder is there, and `Everything is up to date` is all that is said. On a folder and on S3 (moto).
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from support.s3 import s3_bucket
from support.settings import Settings

from beacon_core.domain.exit_statuses import BAD_DATA
from beacon_retraining.pipeline import dvc, remote
from beacon_retraining.pipeline.dvc import DvcError
from beacon_retraining.pipeline.remote import DamagedError
from beacon_retraining.pipeline.workspace import LOCK, Run, folder_of, prepare
from beacon_retraining.training.settings import TrainSettings

pytestmark = [pytest.mark.xdist_group("remote"), pytest.mark.timeout(900)]
PIPELINE = """
stages:
  make:
    cmd: python make.py
    outs: [raw, table.parquet, model.onnx, empty.json]
"""
MAKE = """
from pathlib import Path
Path("raw/deep").mkdir(parents=True)
for name, size in (("raw/data.csv", 5000), ("raw/deep/source.json", 70), ("table.parquet", 9000), ("model.onnx", 4000)):
    Path(name).write_bytes((name * size).encode()[:size])
Path("empty.json").touch()
"""
FILES = ("raw/data.csv", "raw/deep/source.json", "table.parquet", "model.onnx", "empty.json")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("beacon-data") as address:
        yield address


def workspace(settings: Settings) -> Path:
    folder = prepare(settings, TrainSettings(), Run("now", "hand"))
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "make.py").write_text(MAKE)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which DVC has run, for each pair to copy."""
    folder = workspace(Settings(home=tmp_path_factory.mktemp("made")))
    dvc.git_init(folder)
    dvc.output_of(folder, "repro")
    return folder


class Pair:
    """A workspace that was pushed, its remote, and another workspace that is to pull."""

    def __init__(self, folder: Path, address: str, made: Path) -> None:
        self.here = Settings(home=folder / "here", dvc_remote=address)
        self.there = Settings(home=folder / "there", dvc_remote=address)
        shutil.copytree(made, folder_of(self.here))
        self.source, self.target = (workspace(settings) for settings in (self.here, self.there))
        self.lock = (self.source / LOCK).read_bytes()
        self.digests = {name: digest(self.source / name) for name in FILES}
        (self.target / "raw").mkdir()
        (self.target / "raw" / "data.csv").write_text("what was here before")
        (self.target / LOCK).write_bytes(b"# and its lock\n")
        self.system, self.place = fsspec.core.url_to_fs(address)
        remote.push(self.here, self.source)

    def object_of(self, name: str) -> str:
        """Where the remote has a file, or the list of a folder."""
        if not name.endswith("/"):
            return f"{self.place}/files/md5/{self.digests[name][:2]}/{self.digests[name][2:]}"
        (found,) = [file for file in self.system.find(f"{self.place}/files/md5") if file.endswith(".dir")]
        return str(found)

    def read(self, name: str) -> bytes:
        content: bytes = self.system.cat_file(self.object_of(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        place = self.object_of(name)
        self.system.rm_file(place)
        self.system.pipe_file(place, content)

    def pull(self) -> bool:
        return remote.pull(self.there, self.target)

    def assert_untouched(self) -> None:
        assert (self.target / "raw" / "data.csv").read_text() == "what was here before"
        assert (self.target / LOCK).read_bytes() == b"# and its lock\n"
        assert not (self.target / "table.parquet").exists()

    def assert_equal(self) -> None:
        assert (self.target / LOCK).read_bytes() == self.lock
        assert {name: digest(self.target / name) for name in FILES} == self.digests


def digest(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path, made: Path) -> Pair:
    if request.param == "folder":
        return Pair(tmp_path, str(tmp_path / "remote"), made)
    return Pair(tmp_path, f"{request.getfixturevalue('bucket')}/{tmp_path.name}", made)


def truncate(pair: Pair) -> None:
    pair.write("table.parquet", pair.read("table.parquet")[:100])


def empty(pair: Pair) -> None:
    pair.write("raw/data.csv", b"")


def lose(pair: Pair) -> None:
    pair.system.rm_file(pair.object_of("raw/deep/source.json"))


def lose_one_that_is_in_no_folder(pair: Pair) -> None:
    pair.system.rm_file(pair.object_of("model.onnx"))


def swap(pair: Pair) -> None:
    table, model = pair.read("table.parquet"), pair.read("model.onnx")
    pair.write("table.parquet", model)
    pair.write("model.onnx", table)


def change_a_byte(pair: Pair) -> None:
    content = bytearray(pair.read("raw/data.csv"))
    content[100] ^= 1
    pair.write("raw/data.csv", bytes(content))


def fill_an_empty_one(pair: Pair) -> None:
    pair.write("empty.json", b"{}")


def spoil_a_list(pair: Pair) -> None:
    pair.write("raw/", b"[")


def lose_a_list(pair: Pair) -> None:
    pair.system.rm_file(pair.object_of("raw/"))


def lose_all(pair: Pair) -> None:
    pair.system.rm(f"{pair.place}/files", recursive=True)


DAMAGES: dict[str, tuple[Callable[[Pair], None], tuple[str, ...]]] = {
    "truncated": (truncate, ("table.parquet",)),
    "empty": (empty, ("raw/data.csv",)),
    "missing": (lose, ("raw/deep/source.json",)),
    "missing, in no folder": (lose_one_that_is_in_no_folder, ("model.onnx",)),
    "swapped": (swap, ("table.parquet", "model.onnx")),
    "one byte": (change_a_byte, ("raw/data.csv",)),
    "filled": (fill_an_empty_one, ("empty.json",)),
    "a list": (spoil_a_list, ("raw/",)),
    "a list, missing": (lose_a_list, ("raw/",)),
    "all": (lose_all, ("raw/", "table.parquet", "model.onnx", "empty.json")),
}
OTHERWISE_ON_S3 = ("truncated", "one byte", "missing", "a list, missing")
"""Forms that an object store tells by other means: a size, an ETag, a listing."""


@pytest.mark.parametrize(
    ("pair", "name"),
    [*(("folder", name) for name in DAMAGES), *(("s3", name) for name in OTHERWISE_ON_S3)],
    indirect=["pair"],
)
def test_a_pull_names_the_file_and_a_push_puts_it_right(name: str, pair: Pair) -> None:
    damage, files = DAMAGES[name]
    damage(pair)
    with pytest.raises(DamagedError) as refused:
        pair.pull()
    said = str(refused.value)
    assert said.startswith(f"{pair.there.dvc_address}: has no intact copy of ")
    assert [file for file in files if file not in said] == []
    assert len(said.splitlines()) == 1
    assert refused.value.exit_status == BAD_DATA
    pair.assert_untouched()
    told = remote.push(pair.here, pair.source)
    _, _, mended = told.partition("; repaired what was missing or damaged there: ")
    assert mended.endswith("and 1 more") if name == "all" else not [file for file in files if file not in mended]
    assert pair.pull()
    pair.assert_equal()
    assert remote.push(pair.here, pair.source) == f"pushed to {pair.here.dvc_address}", (
        "and then there is nothing to say"
    )


@pytest.mark.parametrize(
    ("pair", "content"),
    [("folder", b""), ("folder", b"schema: '2.0'\nstages:\n  make:\n    cm"), ("s3", b"\0\0"), ("s3", b"[]")],
    indirect=["pair"],
)
def test_a_lock_that_is_not_whole_is_named_and_put_right(content: bytes, pair: Pair) -> None:
    pair.system.pipe_file(f"{pair.place}/{LOCK}", content)
    with pytest.raises(DamagedError, match=r"dvc\.lock: is damaged"):
        pair.pull()
    pair.assert_untouched()
    remote.push(pair.here, pair.source)
    assert pair.pull()
    pair.assert_equal()


def test_what_is_damaged_in_the_cache_of_who_pushes_never_leaves_it(tmp_path: Path, made: Path) -> None:
    pair = Pair(tmp_path, str(tmp_path / "remote"), made)
    lose_all(pair)
    cached = pair.source / ".dvc/cache/files/md5" / pair.digests["model.onnx"][:2] / pair.digests["model.onnx"][2:]
    cached.chmod(0o644)
    cached.write_bytes(b"")
    remote.push(pair.here, pair.source)  # the workspace has it whole
    assert pair.pull()
    pair.assert_equal()
    cached.write_bytes(b"")
    (pair.source / "model.onnx").unlink()
    (pair.source / "model.onnx").write_bytes(b"other")
    with pytest.raises(DamagedError, match=r"model\.onnx is not what dvc\.lock names"):
        remote.push(pair.here, pair.source)
    assert pair.pull(), "and the remote has it still"


def test_what_is_damaged_in_the_cache_of_who_pulls_is_brought_again(tmp_path: Path, made: Path) -> None:
    pair = Pair(tmp_path, str(tmp_path / "remote"), made)
    assert pair.pull()
    cached = pair.target / ".dvc/cache/files/md5" / pair.digests["model.onnx"][:2] / pair.digests["model.onnx"][2:]
    cached.chmod(0o644)
    cached.write_bytes(b"short")
    (pair.target / "model.onnx").unlink()
    assert pair.pull()
    pair.assert_equal()


@pytest.mark.parametrize("pair", ["s3"], indirect=True)
def test_a_remote_that_does_not_answer_is_no_damage(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    fsspec.config.conf.setdefault("s3", {})["config_kwargs"] = {"retries": {"max_attempts": 0}}
    try:
        for act in (pair.pull, lambda: remote.push(pair.here, pair.source)):
            with pytest.raises(DvcError) as refused:
                act()
            assert not isinstance(refused.value, DamagedError)
            assert str(refused.value).startswith(pair.here.dvc_remote)
    finally:
        fsspec.config.conf.pop("s3")
    pair.assert_untouched()


def test_nothing_pushed_yet_is_no_damage(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", dvc_remote=str(tmp_path / "nowhere"))
    assert not remote.pull(settings, prepare(settings, TrainSettings(), Run("now", "hand")))
