"""Credentials stay where they are: with a line break from a file, quoted by a library, in an address, in old rows.

Reported of many clients: a key from `echo KEY | base64` ends with a line break, the library refuses the header and
quotes it whole, and the log, the database and a page show it.
"""

import http.client
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import requests
from support.history import add_job
from support.otlp import receiving
from support.service import Service
from support.settings import Settings

from beacon_console.app import create as create_console
from beacon_core.data.database import migrate, open_store
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import mask, message_of, message_with_type
from beacon_core.feature_store import repo
from beacon_core.observability import logs
from beacon_core.platform.settings import SettingsError, clean_credentials, load_settings

SECRETS = {
    "KAGGLE_KEY": ("c0ffee-kaggle-key", "c0ffee-kaggle-key"),
    "KAGGLE_API_TOKEN": ("KGAT_kaggletoken77", "KGAT_kaggletoken77"),
    "AWS_ACCESS_KEY_ID": ("AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
    "AWS_SECRET_ACCESS_KEY": ("wJalr/XUtnFEMI+K7MDENG", "wJalr/XUtnFEMI+K7MDENG"),
    "AWS_SESSION_TOKEN": ("session//token==", "session//token=="),
    "MLFLOW_TRACKING_PASSWORD": ("mlflow pass word", "mlflow pass word"),
    "MLFLOW_TRACKING_TOKEN": ("mlflow-token-5", "mlflow-token-5"),
    "BEACON_DATABASE_URL": ("postgresql+psycopg://beacon:d@ta/b#se@db.example:5432/beacon", "d@ta/b#se"),
    "BEACON_MLFLOW_URL": ("http://someone:in%2Furl%21@mlflow.example:5000", "in%2Furl%21"),
    "BEACON_DVC_REMOTE": ("https://someone:dvcpassword@files.example/dvc", "dvcpassword"),
    "BEACON_API_KEY": ("api\"key'<9>", "api\"key'<9>"),
    "BEACON_FEATURE_TOKEN": ("feature-token-3", "feature-token-3"),
    "BEACON_CONSOLE_TOKEN": ("kön-sole-token", "kön-sole-token"),
    "REDIS_CONNECTION": ("redis.example:6379,password=redispass1,ssl=true", "redispass1"),
    "OTEL_EXPORTER_OTLP_HEADERS": ("authorization=Bearer%20otlp-secret-8,x-team=blue", "otlp-secret-8"),
    "PGPASSWORD": ("pgpassword-2", "pgpassword-2"),
    "https_proxy": ("http://proxyuser:proxypass4@proxy.example:3128", "proxypass4"),
}
"""Every credential that there is, as an operator sets it, and the part of it that nobody may read."""


def spellings(text: str) -> list[str]:
    """How libraries and formats write it."""
    return [text, repr(text), repr(text.encode()), json.dumps(text), quote(text, safe=""), f"Bearer {text}"]


@pytest.fixture
def _all_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (text, _) in SECRETS.items():
        monkeypatch.setenv(name, text)


@pytest.mark.usefixtures("_all_set")
@pytest.mark.parametrize("name", SECRETS)
def test_every_spelling_of_every_credential_is_masked(name: str) -> None:
    text, secret = SECRETS[name]
    for spelling in [*spellings(text), *spellings(secret)]:
        said = mask(f"ValueError: Invalid header value {spelling} (asked twice)")
        assert said.startswith("ValueError: Invalid header value")
        assert said.endswith("(asked twice)")
        assert not [form for form in spellings(secret)[:5] if form.strip("b'\"") in said], said


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://someone:unknown1@db.example/x does not answer",
        "https://unknown1@files.example/dvc: 403",
        "Invalid header value b'Bearer unknown1'",
        "{'Authorization': 'Basic unknown1=', 'X-API-Key': 'unknown1'}",
        "connection failed: host=db password=unknown1 dbname=x",
        'the body {"token": "unknown1"} was refused',
        "redis:6379,password=unknown1,ssl=true",
        "AWS4-HMAC-SHA256 Credential=unknown1/20260101, Signature=unknown1",
        "the token KGAT_unknown1 is not valid",
        "AccountName=beacon;AccountKey=unknown1==;EndpointSuffix=core.windows.net",
        "403 for https://store.example/data?sv=2024&sig=unknown1%3D",
        "refused: X-API-Key: unknown1",
        "x-amz-security-token: unknown1 has expired",
        "got Set-Cookie: session=unknown1; Path=/",
        "Server=db;Uid=beacon;Pwd=unknown1;",
        "not valid: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1bmtub3duMSJ9unknown1.c2lnbmF0dXJl",  # kingfisher:ignore
    ],
)
def test_what_looks_like_a_credential_is_masked_though_nobody_knows_it(text: str) -> None:
    assert "unknown1" not in mask(text)
    assert "***" in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "BEACON_CONSOLE_TOKEN is not set",
        "Kaggle credentials from KAGGLE_USERNAME and KAGGLE_KEY",
        "MLflow at http://127.0.0.1:5000 does not answer: Connection refused",
        "http://127.0.0.1:5000/#/experiments/1/runs/0123456789abcdef0123456789abcdef",
        "features.token: must be a number, is the text 'a'",
        "key_features.NOWHERE: is not a feature",
        "the key: a column of the data file",
        "sig: significance of a test",
        "version 3, sha256 0123456789ab: basic statistics are within every limit",
    ],
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize("name", ["BEACON_MODEL_SIGNING_KEY_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "SSL_KEY_PATH"])
def test_the_place_of_a_credential_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A message says which file is missing."""
    monkeypatch.setenv(name, "/etc/beacon/signing.pem")
    assert mask("/etc/beacon/signing.pem is not there") == "/etc/beacon/signing.pem is not there"


def raised(call: object) -> Exception:
    try:
        call()  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("it should have failed")


def send_header(value: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", 1)
    connection._HTTPConnection__state = "Request-started"  # type: ignore[attr-defined]
    connection.putheader("Authorization", value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: send_header("Bearer unseen-secret\n"),
        lambda: requests.get("http://127.0.0.1:1", headers={"X-API-Key": "unseen-secret\n"}, timeout=1),
        lambda: httpx.get("http://127.0.0.1:1", headers={"X-API-Key": "unseen-secret\n"}),
        lambda: http.client.HTTPConnection("someone:unseen-secret@mlflow.example"),
        lambda: open_store("postgresql+psycopg://someone:secret@db.example:unseen-secret/x"),
        lambda: open_store("unseen-secret"),
        lambda: open_store("unseen-secret://a@b/c"),
        lambda: load_settings({"BEACON_API_KEY": "unseen-secret\nsecond unseen-secret"}),
    ],
    ids=[
        "http.client",
        "requests",
        "httpx",
        "a URL with a user",
        "a database's port",
        "no URL",
        "no driver",
        "settings",
    ],
)
def test_a_foreign_exception_that_quotes_what_it_was_given_is_not_worded(call: object) -> None:
    error = raised(call)
    for said in (message_of(error), message_with_type(error)):
        assert "unseen-secret" not in said
        assert len(said.splitlines()) == 1
        assert said


def test_ones_own_words_and_those_of_the_system_are_kept(tmp_path: Path) -> None:
    assert message_of(raised((tmp_path / "nowhere").read_bytes)) == f"{tmp_path}/nowhere: No such file or directory"
    assert (
        message_of(SettingsError("BEACON_LOUD is not a setting of Beacon")) == "BEACON_LOUD is not a setting of Beacon"
    )
    assert message_of(raised(open_store(f"sqlite:///{tmp_path}").connect)) == "unable to open database file"


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("end", ["\n", "\r\n", " \n\n"])
def test_what_a_file_leaves_behind_a_credential_is_taken_off(name: str, end: str) -> None:
    text, _ = SECRETS[name]
    environment = {name: f"{text}{end}"}
    clean_credentials(environment)
    assert environment[name] == text
    if name.startswith("BEACON_"):
        assert getattr(load_settings({name: f"{text}{end}"}), name[7:].lower()) == text


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("sign", ["\n", "\r", "\0", "\x7f"])
def test_a_line_break_within_one_is_refused_by_the_name_alone(name: str, sign: str) -> None:
    text, _ = SECRETS[name]
    half = len(text) // 2
    with pytest.raises(SettingsError) as refused:
        clean_credentials({name: f"{text[:half]}{sign}{text[half:]}"})
    assert str(refused.value) == f"{name}: must be one line without control characters"


JOB = """
import json, logging, os, sys
from beacon_core.platform.job import log, run_job
from beacon_core.data.job_runs import recorded
from beacon_core.platform.settings import load_settings
from beacon_core.data.database import migrate, open_store

def main():
    given = json.loads(sys.stdin.read())
    engine = open_store("sqlite:///" + os.environ["STORE"])
    migrate(engine)
    for number, text in enumerate(given):
        log.info("said %s", text)
        log.warning("said", extra={"reason": text, "deep": {"list": [text]}})
        logging.getLogger("library").error("said %r", text.encode())
        try:
            with recorded(engine, "own", str(number), "work"):
                raise OSError(f"the library says {text}")
        except OSError:
            log.exception("it failed")
    raise RuntimeError(f"nobody catches {given}")

sys.exit(run_job("own", main))
"""


@pytest.mark.parametrize("log_format", ["json", "plain"])
def test_a_job_tells_none_of_them_in_its_log_the_store_or_a_span(log_format: str, tmp_path: Path) -> None:
    own = {"STORE": str(tmp_path / "beacon.db"), "BEACON_HOME": str(tmp_path), "BEACON_LOG_FORMAT": log_format}
    own |= {"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1"}
    given = {name: text for name, (text, _) in SECRETS.items()}
    with receiving() as receiver:
        done = subprocess.run(
            [sys.executable, "-c", JOB],
            env=given | own | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url},
            input=json.dumps([text for text, _ in SECRETS.values()]),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        sent = "".join(str(each.span) for each in receiver.spans)
    assert done.returncode == 1
    assert done.stderr.count("it failed") == len(SECRETS)
    assert len(receiver.spans) == len(SECRETS) + 1
    stored = (tmp_path / "beacon.db").read_bytes().decode("utf-8", "replace")
    stored += "".join(file.read_bytes().decode("utf-8", "replace") for file in tmp_path.glob("beacon.db-*"))
    assert "the library says" in stored
    assert "exception.message" in sent
    for name, (_, secret) in SECRETS.items():
        for place, text in (("log", done.stderr + done.stdout), ("store", stored), ("span", sent)):
            assert secret not in text, (name, place)
            assert json.dumps(secret)[1:-1] not in text, (name, place)


def test_what_nobody_caught_is_masked_too(tmp_path: Path) -> None:
    body = "import threading\nfrom beacon_core.observability.logs import configure_logging\n"
    body += "configure_logging('own', '1', 'INFO')\n"
    body += "def fail(): raise RuntimeError('unseen-secret')\nthread = threading.Thread(target=fail)\n"
    body += "thread.start()\nthread.join()\nfail()\n"
    environment = {"BEACON_API_KEY": "unseen-secret"}
    done = subprocess.run(
        [sys.executable, "-c", body], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in lines] == ["unexpected error"] * 2
    assert all("RuntimeError: ***" in line["exc_info"] for line in lines)


def test_lines_of_a_program_that_beacon_starts_are_masked(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unseen-secret")
    for disabled in (True, False):
        monkeypatch.setattr(logs.steps, "disabled", disabled)
        logs.relay(b"ERROR: the key unseen-secret was refused\n", logging.getLogger("beacon.dvc"))
    out, err = capfdbinary.readouterr()
    assert b"unseen-secret" not in out + err
    assert b"the key *** was refused" in err


FEATURE_STORE = """
project: beacon
provider: local
registry: {{registry_type: sql, path: "{0}"}}
online_store: {{type: redis, connection_string: {1}}}
entity_key_serialization_version: 3
"""


@pytest.mark.parametrize(
    ("registry", "online", "rule"),
    [
        ("x", "[unseen-secret]", "connection_string"),
        ("x", "{unseen-secret", "is not YAML"),
        ("x", "a: unseen-secret: b", "is not YAML"),
        ("x", "$ unseen-secret", "write $$ for a $"),
    ],
)
def test_a_feature_store_that_cannot_be_opened_quotes_no_connection(
    registry: str, online: str, rule: str, tmp_path: Path
) -> None:
    (tmp_path / "feature_store.yaml").write_text(FEATURE_STORE.format(registry, online))
    with pytest.raises(ConfigurationError) as refused:
        repo.open_store(Settings(home=tmp_path, feature_repo=tmp_path))
    assert rule in str(refused.value)
    assert "unseen-secret" not in str(refused.value)


def test_what_an_earlier_release_wrote_down_is_masked_on_the_page(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    add_job(engine, "retrain", datetime.now(UTC), "failed", "FetchError: Invalid header value b'Bearer unseen-secret'")
    engine.dispose()
    mlflow_url = "http://me:unseen-secret@127.0.0.1:1"  # kingfisher:ignore
    with Service(create_console(Settings(home=tmp_path, mlflow_url=mlflow_url))) as console:
        for path in ("/", "/jobs", "/jobs/1", "/models", "/models/1"):
            shown = console.get(path).body.decode()
            assert "unseen-secret" not in shown, path
        assert "Invalid header value b&#39;Bearer ***" in console.get("/jobs/1").body.decode()
        assert "http://***@127.0.0.1:1" in console.get("/models").body.decode()
