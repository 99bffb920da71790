"""A secret that somebody commits is found by `make lint`, and nothing else is."""

import random
import string
import subprocess
from pathlib import Path

import pytest

from beacon_core.domain.api_keys import new_key
from tools.secret_scan import Finding, SecretScanError, main, scan

DRAW = random.Random(7)


def drawn(length: int, signs: str = string.ascii_letters + string.digits) -> str:
    """Made at random here, as this file is scanned, too."""
    return "".join(DRAW.choice(signs) for _ in range(length))


PLANTED = {
    "aws.py": f'AWS_ACCESS_KEY_ID = "AKIA{drawn(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")}"\nAWS_SECRET = "{drawn(40)}"',
    "github.env": f"GITHUB=ghp_{drawn(36)}",
    "key.pem": f"-----BEGIN {'PRIVATE'} KEY-----\n{drawn(64)}\n{drawn(64)}\n-----END {'PRIVATE'} KEY-----",
    "kaggle.json": f'{{"username": "someone", "key": "{drawn(32, "0123456789abcdef")}"}}',
    "database.yaml": f"url: postgresql+psycopg://beacon:{drawn(20)}@db.example:5432/beacon",
    "secret.yaml": f"stringData:\n  postgresql-password: {drawn(24)}",
    "settings.py": f'API_KEY = "{drawn(32)}"',
    "keys.txt": new_key(),
}
PLAIN = """\
password = settings.database_password
secret: beacon-database-prediction-log
token = "the token of the console, as an operator gives it"
postgresql+psycopg://beacon@beacon-postgresql:5432/beacon
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("/ignored/\n")
    return tmp_path


def test_each_kind_of_secret_is_found_and_no_ordinary_text(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "plain.txt").write_text(PLAIN)
    assert main(checkout) == 0
    assert capsys.readouterr().out == ""
    (checkout / "folder").mkdir()
    for name, text in PLANTED.items():
        (checkout / "folder" / name).write_text(text + "\n")
    subprocess.run(["git", "-C", checkout, "add", "folder/aws.py"], check=True)
    assert {found.path for found in scan(checkout)} == {f"folder/{name}" for name in PLANTED}
    assert main(checkout) == 1
    said = capsys.readouterr().out
    assert "folder/secret.yaml:2: looks like a secret: beacon.assignment" in said
    for text in PLANTED.values():
        assert not [word for word in text.split() if len(word.strip("\"'")) > 24 and word.strip("\"'") in said]


def test_what_git_ignores_and_what_is_said_to_be_none_is_left_out(checkout: Path) -> None:
    (checkout / "ignored").mkdir()
    (checkout / "ignored" / "settings.py").write_text(PLANTED["settings.py"])
    (checkout / "example.py").write_text(f"{PLANTED['settings.py']}  # kingfisher:ignore\n")
    assert scan(checkout) == []
    (checkout / "example.py").write_text(f"{PLANTED['settings.py']}\n")
    assert scan(checkout) == [Finding("example.py", 1, "beacon.assignment")]


def test_a_scan_that_fails_is_no_clean_bill(tmp_path: Path) -> None:
    with pytest.raises(SecretScanError, match="status 128"):
        scan(tmp_path)
