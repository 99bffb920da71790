"""What services share, in a folder and in S3: whole files, no lost write, and S3's failures in one line each."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from support.s3 import s3_bucket, s3_server

from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN
from beacon_core.platform import s3_client, s3_files
from beacon_core.platform.settings import ROOT, SettingsError, load_settings
from beacon_core.platform.shared_files import (
    SharedFile,
    SharedFilesError,
    SharedFilesUnavailableError,
    Write,
    shared_file,
    to_bytes,
)

BUCKET = "shared"
WRITERS, LINES = 4, 8
ADD_LINES = """
import sys
from beacon_core.platform.shared_files import shared_file, to_bytes
address, name, count = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(count)):
    line = f"{name} {number}\\n".encode()
    shared_file(address).update(lambda path: to_bytes((path.read_bytes() if path.exists() else b"") + line))
"""


@pytest.fixture(autouse=True)
def new_client() -> Iterator[None]:
    """A client of each test's own server."""
    yield
    s3_client._client.cache_clear()
    s3_client.check_conditions.cache_clear()


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "shared")
        return
    with s3_bucket(BUCKET) as address:
        yield f"{address}/one/two"


def content(file: SharedFile) -> bytes | None:
    with file.reading() as path:
        return path.read_bytes() if path.exists() else None


def put(file: SharedFile, text: bytes) -> None:
    file.update(lambda _: to_bytes(text))


def test_a_file_is_read_as_it_was_written_last(place: str) -> None:
    file = shared_file(f"{place}/data/rows.bin")
    assert (file.name, file.exists(), file.version(), content(file), file.beside("*")) == (
        *("rows.bin", False, "", None, []),
    )
    put(file, b"one")
    first = file.version()
    other = shared_file(file.address)
    assert (other.exists(), content(other), other.version() == first) == (True, b"one", True)
    put(other, b"two, longer")
    assert (content(file), content(other), file.version() == other.version() != first) == (
        *(b"two, longer", b"two, longer", True),
    )


def test_a_change_that_changes_nothing_or_fails_leaves_it(place: str) -> None:
    file = shared_file(f"{place}/rows.bin")
    put(file, b"one")
    before = file.version()
    file.update(lambda _: None)

    def fail(path: Path) -> Write:
        def half(draft: Path) -> None:
            draft.write_bytes(b"hal")
            raise RuntimeError("stopped")

        return half

    with pytest.raises(RuntimeError, match="stopped"):
        file.update(fail)
    assert (content(file), file.version()) == (b"one", before)
    put(file, b"two")
    assert content(file) == b"two"


def test_files_beside_it_are_found_by_name(place: str) -> None:
    file = shared_file(f"{place}/data/features.parquet")
    for name in ("features.parquet", "features.former-key.parquet", "view.progress.json"):
        put(file.sibling(name), name.encode())
    put(shared_file(f"{place}/data/below/features.other.parquet"), b"")
    found = file.beside("features.*parquet")
    assert [each.name for each in found] == ["features.former-key.parquet", "features.parquet"]
    assert [content(each) for each in found] == [each.name.encode() for each in found]
    assert [each.name for each in file.beside("*.progress.json")] == ["view.progress.json"]


@pytest.mark.slow
def test_writers_at_once_lose_nothing(place: str) -> None:
    address = f"{place}/lines.txt"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", ADD_LINES, address, str(number), str(LINES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number in range(WRITERS)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=240)
        assert writer.returncode == 0
    wanted = sorted(f"{writer} {line}" for writer in range(WRITERS) for line in range(LINES))
    assert sorted((content(shared_file(address)) or b"").decode().splitlines()) == wanted


def test_threads_of_one_process_lose_nothing_and_read_whole_files(place: str) -> None:
    file, torn = shared_file(f"{place}/lines.txt"), []
    put(file, b"-" * 1000)

    def write(sign: bytes) -> None:
        for _ in range(LINES):
            shared_file(file.address).update(lambda path: to_bytes(path.read_bytes() + sign * 1000))

    def read() -> None:
        for _ in range(4 * LINES):
            found = content(shared_file(file.address)) or b""
            torn.extend([found] if len(found) % 1000 else [])

    threads = [threading.Thread(target=write, args=(sign,)) for sign in (b"a", b"b")] + [threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    found = content(file) or b""
    assert (found.count(b"a"), found.count(b"b"), torn) == (1000 * LINES, 1000 * LINES, [])


def test_a_writer_who_was_overtaken_begins_with_what_the_other_wrote() -> None:
    with s3_bucket(BUCKET) as address:
        file, other = shared_file(f"{address}/rows.bin"), Overtaking(f"{address}/rows.bin", times=3)
        put(file, b"one")
        file.update(other.change)
        assert (content(file), other.calls) == (b"one+++mine", 4)


def test_a_writer_who_is_always_overtaken_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_files, "TRIES", 3)
    with s3_bucket(BUCKET) as address:
        put(shared_file(f"{address}/rows.bin"), b"one")
        with pytest.raises(SharedFilesUnavailableError, match=r"s3://shared/rows\.bin: others write it all the time"):
            shared_file(f"{address}/rows.bin").update(Overtaking(f"{address}/rows.bin", times=99).change)
        assert content(shared_file(f"{address}/rows.bin")) == b"one+++"


class Overtaking:
    """A change during which another one writes, with a client of its own."""

    def __init__(self, address: str, times: int) -> None:
        self._key = address.removeprefix(f"s3://{BUCKET}/")
        self._left = times
        self.calls = 0

    def change(self, path: Path) -> Write:
        self.calls += 1
        if self._left:
            self._left -= 1
            overwrite(self._key, s3_client.client().get_object(Bucket=BUCKET, Key=self._key)["Body"].read() + b"+")
        mine = path.read_bytes() + b"mine"
        return to_bytes(mine)


def overwrite(key: str, body: bytes) -> None:
    """As somebody does it who knows no conditions."""
    s3_client.client().put_object(Bucket=BUCKET, Key=key, Body=body)


def requests_without_keys(count: int) -> None:
    """How many requests the server takes without looking at their keys."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    given = Request(address, str(count).encode(), {"Content-Type": "text/plain"}, method="POST")
    urlopen(given, timeout=60).close()


def refusal(address: str) -> BaseException:
    """What reading says; writing says the same."""
    file = shared_file(address)
    errors: list[BaseException] = []
    for use in (lambda: content(file), lambda: put(file, b"")):
        with pytest.raises((SharedFilesError, SharedFilesUnavailableError)) as raised:
            use()
        errors.append(raised.value)
    assert type(errors[0]) is type(errors[1])
    assert "\n" not in str(errors[0])
    return errors[0]


def test_a_missing_bucket_and_missing_keys_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_bucket(BUCKET):
        error: Any = refusal("s3://other-one/data/rows.bin")
        assert str(error).endswith("there is no bucket other-one")
        assert str(error).startswith("BEACON_FILES: s3://other-one/data/")
        assert error.exit_status == REFUSED
        s3_client._client.cache_clear()
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        error = refusal("s3://shared/data/rows.bin")
        assert "there are no keys: set AWS_ACCESS_KEY_ID" in str(error)
        assert error.exit_status == REFUSED


def test_wrong_keys_are_named() -> None:
    with s3_bucket(BUCKET):
        requests_without_keys(0)  # from now on the server wants keys that it knows
        try:
            error: Any = refusal("s3://shared/data/rows.bin")
        finally:
            requests_without_keys(10**9)
        assert "the access is denied (" in str(error)
        assert error.exit_status == REFUSED


@pytest.mark.slow
def test_a_server_that_is_away_is_named_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as address:
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "two")
    began = time.monotonic()
    error: Any = refusal("s3://shared/data/rows.bin")
    assert time.monotonic() - began < 30
    assert f"{address} does not answer" in str(error)
    assert error.exit_status == TRY_AGAIN


def test_a_server_without_conditional_writes_is_refused_before_it_loses_a_row() -> None:
    def deaf(app: Any) -> Any:
        def serve(environ: dict[str, Any], start: Any) -> Any:
            environ.pop("HTTP_IF_MATCH", None)
            environ.pop("HTTP_IF_NONE_MATCH", None)
            return app(environ, start)

        return serve

    with s3_bucket(BUCKET, before=deaf) as address:
        overwrite("data/rows.bin", b"one")
        with pytest.raises(SharedFilesError, match="does not know conditional writes"):
            put(shared_file(f"{address}/data/rows.bin"), b"two")
        assert content(shared_file(f"{address}/data/rows.bin")) == b"one"


def test_an_answer_that_is_cut_off_is_no_file() -> None:
    cut = {"on": False}

    def cutting(app: Any) -> Any:
        def serve(environ: dict[str, Any], start: Any) -> Any:
            body = b"".join(app(environ, start))
            is_content = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].endswith("rows.bin")
            return [body[: len(body) // 2] if cut["on"] and is_content else body]

        return serve

    with s3_bucket(BUCKET, before=cutting) as address:
        overwrite("rows.bin", b"content " * 1000)
        file = shared_file(f"{address}/rows.bin")
        cut["on"] = True
        with pytest.raises(SharedFilesUnavailableError, match="does not answer"):
            content(file)
        cut["on"] = False
        assert content(file) == b"content " * 1000


def test_a_copy_goes_when_the_object_does() -> None:
    with s3_bucket(BUCKET) as address:
        file = s3_files.S3File(f"{address}/rows.bin")
        put(file, b"somebody")
        assert content(file) == b"somebody"
        s3_files.forget_old_copies()
        assert file._copy.read_bytes() == b"somebody"
        overwrite("rows.bin", b"nobody")
        s3_files.forget_old_copies()
        assert not file._copy.exists()
        assert content(file) == b"nobody"
        s3_client.client().delete_object(Bucket=BUCKET, Key="rows.bin")
        s3_files.forget_old_copies()
        assert not file._copy.exists()
        assert content(file) is None


@pytest.mark.slow
def test_the_copies_of_a_process_go_with_it() -> None:
    script = """
import os, signal, sys
from beacon_core.platform import s3_files
print(s3_files._copies(os.getpid()), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if os.fork() == 0:
    sys.exit()
os.wait()
assert s3_files._copies(os.getpid()).is_dir(), "a fork has removed them"
"""

    def folder_of(end: str) -> Path:
        done = subprocess.run(
            [sys.executable, "-c", script, end], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode == (-9 if end == "killed" else 0), done.stderr
        return Path(done.stdout.splitlines()[0])

    killed = folder_of("killed")
    assert killed.is_dir()
    assert killed.stat().st_mode & 0o77 == 0
    assert not folder_of("ended").exists()
    assert not killed.exists(), "the next process removes those of one that was killed"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("s3://", "must be a folder, or s3://BUCKET/FOLDER"),
        ("s3://A_Bucket/x", "must be a folder, or s3://BUCKET/FOLDER"),
        ("gs://bucket/x", "must be a folder, or s3://BUCKET/FOLDER"),
        ("s3://bucket/a*b", "the feature store cannot read it"),
        ("s3://bucket/%(x)", "DVC reads"),
    ],
)
def test_a_place_that_is_none_is_refused(text: str, rule: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({"BEACON_FILES": text})
    assert str(raised.value).startswith("BEACON_FILES: ")
    assert rule in str(raised.value)


def test_places_in_force(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        given = load_settings({"BEACON_HOME": "home"})
        assert (given.files_place, given.dvc_address) == (str(tmp_path / "home"), str(tmp_path / "home/dvc-remote"))
        given = load_settings({"BEACON_HOME": "home", "BEACON_FILES": "s3://my.bucket/a/"})
        assert (given.files_place, given.dvc_address, given.keeps_files) == (
            *("s3://my.bucket/a", "s3://my.bucket/a/dvc-remote", False),
        )
        given = load_settings({"BEACON_FILES": "shared", "BEACON_DVC_REMOTE": "s3://other"})
        assert (given.files_place, given.dvc_address, given.keeps_files) == (
            str(tmp_path / "shared"),
            "s3://other",
            True,
        )
