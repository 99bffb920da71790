"""Settings that name a folder, a file or an address: what cannot be one is one line that names the setting."""

from pathlib import Path

import pytest

from beacon_core.platform.settings import LOCATIONS, Settings, SettingsError, load_settings, make_home

FOLDERS, FILES = ("HOME", "FEATURE_REPO", "SPOOL"), ("PRODUCT", "RELEASE")
LOOSE = "DVC_REMOTE"
"""A folder or a URL: blanks around a URL say nothing, and are left out."""
ADDRESSES = ("FEATURES_URL", "MLFLOW_URL", "INFERENCE_URL", "INFERENCE_METRICS_URL")
PASSWORD = "s3cr3t"
DATABASE = f"postgresql+psycopg://u:{PASSWORD}@db/beacon"


def refusal(name: str, text: str) -> str:
    """The one line that refuses a value."""
    with pytest.raises(SettingsError) as caught:
        load_settings({f"BEACON_{name}": text})
    line = str(caught.value)
    assert line.startswith(f"BEACON_{name}: ")
    assert "\n" not in line
    assert PASSWORD not in line
    return line


@pytest.mark.parametrize("name", [name.upper() for name in LOCATIONS])
def test_an_empty_value_is_not_set(name: str) -> None:
    assert load_settings({f"BEACON_{name}": ""}) == Settings()


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
@pytest.mark.parametrize("around", [" {}", "{} ", "{}\n", "{}\r\n", "\t{}", "{}\u00a0"], ids=ascii)
def test_blanks_and_line_breaks_around_a_path_are_refused(tmp_path: Path, name: str, around: str) -> None:
    assert "space or a line break" in refusal(name, around.format(tmp_path / "x"))


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
@pytest.mark.parametrize("text", ["/a\nb", "/a\x1b[1mb", "/a\x7fb", "/a\udcffb"], ids=ascii)
def test_a_path_is_text_on_one_line(name: str, text: str) -> None:
    assert "contains" in refusal(name, text)


@pytest.mark.parametrize("name", [*FOLDERS, LOOSE])
def test_a_file_is_no_folder(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refusal(name, str(file)).endswith(f"{file} is a file, must be a folder")
    assert "is a file, must be a folder" in refusal(name, "/dev/null")


@pytest.mark.parametrize("name", FILES)
def test_a_folder_is_no_file(tmp_path: Path, name: str) -> None:
    assert refusal(name, str(tmp_path)).endswith(f"{tmp_path} is a folder, must be a file")
    assert refusal(name, f"{tmp_path}/").endswith(f"{tmp_path} is a folder, must be a file")


@pytest.mark.parametrize("name", [*FOLDERS, *FILES, LOOSE])
def test_nothing_lies_below_a_file_or_behind_a_link_to_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "lies below" in refusal(name, str(tmp_path / "file" / "a" / "b"))
    assert "symbolic link" in refusal(name, str(tmp_path / "link"))
    assert "symbolic link" in refusal(name, str(tmp_path / "loop"))
    assert "too long" in refusal(name, str(tmp_path / ("n" * 300))).lower()
    assert "nobody-of-that-name" in refusal(name, "~nobody-of-that-name/x")


def test_a_path_is_whole_wherever_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somebody")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    forms = {"state": tmp_path / "state", "./state/": tmp_path / "state", "~/x": Path("/somebody/x")}
    forms |= {"link": tmp_path / "link", "-lead": tmp_path / "-lead", f"/{tmp_path}/y//z/": tmp_path / "y" / "z"}
    for text, expected in forms.items():
        assert load_settings({"BEACON_HOME": text}).home == expected, text
    given = {"HOME": "h", "PRODUCT": "p.yaml", "SPOOL": "s", "DVC_REMOTE": "r", "DATABASE_URL": "sqlite:///d%3F.db"}
    whole = load_settings({f"BEACON_{name}": text for name, text in given.items()}).environment()
    monkeypatch.chdir("/")
    assert whole == {
        "BEACON_HOME": str(tmp_path / "h"),
        "BEACON_PRODUCT": str(tmp_path / "p.yaml"),
        "BEACON_SPOOL": str(tmp_path / "s"),
        "BEACON_DVC_REMOTE": str(tmp_path / "r"),
        "BEACON_DATABASE_URL": f"sqlite:///{tmp_path}/d%3F.db",
    }
    assert load_settings(whole).environment() == whole


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "text",
    ["localhost:5000", "http://", "http://:80", "ftp://host", "http://host:port", "http://a b", "http://h/?x=1", "/a"],
)
def test_what_is_no_address_is_refused(name: str, text: str) -> None:
    refusal(name, text)


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("text", ["http://host:5000", "https://host/mlflow/", "http://[::1]:5000", " http://host\n"])
def test_an_address_is_taken_without_its_last_slash_and_blanks(name: str, text: str) -> None:
    assert getattr(load_settings({f"BEACON_{name}": text}), name.lower()) == text.strip().rstrip("/")


@pytest.mark.parametrize(
    "text", ["beacon.db", "postgres://db/x", f"mysql://u:{PASSWORD}@db/x", f"{DATABASE[:-11]}:port/x", "sqlite:///{}"]
)
def test_what_is_no_database_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    refusal("DATABASE_URL", text.format(tmp_path))


@pytest.mark.parametrize(
    "text", [DATABASE, "sqlite://", "sqlite:///:memory:", "sqlite:////a%20b/c.db", "sqlite+pysqlite:////a.db"]
)
def test_databases_are_taken_as_they_are(text: str) -> None:
    assert load_settings({"BEACON_DATABASE_URL": text}).database == text


def test_a_remote_elsewhere_is_taken_as_it_is() -> None:
    for text in ("s3://bucket/a folder", "s3://bucket/a folder\n"):
        assert load_settings({"BEACON_DVC_REMOTE": text}).dvc_address == "s3://bucket/a folder"


def test_a_remote_that_dvc_would_read_as_a_variable_is_refused() -> None:
    assert "'%('" in refusal("DVC_REMOTE", "/a%(b)s")


@pytest.mark.parametrize("text", ["a b", "http://host", "127.0.0.1\n", "h/x"])
def test_what_is_no_host_is_refused(text: str) -> None:
    refusal("HOST", text)


def test_a_home_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    """Nobody, not even root, makes a folder in /proc."""
    for home in ("/proc/beacon", "/proc/self/fd"):
        with pytest.raises(SettingsError, match=f"BEACON_HOME: {home}") as caught:
            make_home(load_settings({"BEACON_HOME": home}))
        assert "\n" not in str(caught.value)
    make_home(load_settings({"BEACON_HOME": str(tmp_path / "a" / "b")}))
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("sign", ["*", "::"])
def test_a_home_that_feast_would_read_as_a_pattern_is_refused(tmp_path: Path, sign: str) -> None:
    assert repr(sign) in refusal("HOME", str(tmp_path / f"a{sign}b"))
