"""The command `beacon signing-keys`: it makes a pair once, and shows the ids of the keys in force."""

import re
from pathlib import Path

import pytest
from support.settings import Settings

from beacon_core.commands.signing_keys import main
from beacon_core.domain.errors import ConfigurationError


def called(monkeypatch: pytest.MonkeyPatch, settings: Settings, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["beacon signing-keys", *arguments])
    return main(settings)


def test_a_pair_is_made_once_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys"
    settings = Settings(
        home=tmp_path, model_signing_key_file=keys / "model-signing.pem", model_keys_file=keys / "model-keys.pem"
    )
    assert called(monkeypatch, settings, "new", str(keys)) == 0
    made = re.search("^key ([0-9a-f]+): ", capsys.readouterr().out)
    assert made
    assert (keys / "model-signing.pem").stat().st_mode & 0o077 == 0
    assert called(monkeypatch, settings, "show") == 0
    shown = capsys.readouterr().out
    assert f"trusted: {made[1]}" in shown
    assert f"signs:   {made[1]}" in shown
    with pytest.raises(ConfigurationError, match="is there already"):
        called(monkeypatch, settings, "new", str(keys))
