"""Settings: every name is known, every value has its type, and secrets stay secret."""

from pathlib import Path

import pytest

from beacon_core.platform.settings import ROOT, SECRETS, Settings, SettingsError, load_settings


def test_nothing_set_gives_the_defaults_in_one_home():
    settings = load_settings({"PATH": "/bin", "HOME": "/x"})
    assert settings == Settings()
    assert settings.release_file == ROOT / ".beacon" / "release.json"
    assert settings.spool_dir.parent == settings.models_dir.parent == settings.home
    assert settings.database == f"sqlite:///{ROOT / '.beacon' / 'beacon.db'}"
    assert settings.features_address == "http://127.0.0.1:6566"


def test_values_are_typed():
    given = {"HOME": "/state", "INFERENCE_PORT": "81", "FEATURES_TIMEOUT_SECONDS": "0.5", "ACCESS_LOG": "false"}
    settings = load_settings({f"BEACON_{name}": text for name, text in given.items()})
    assert settings.home == Path("/state")
    assert settings.inference_port == 81
    assert settings.features_timeout_seconds == 0.5
    assert settings.access_log is False


def test_an_address_given_wins_over_the_one_made_up():
    given = {"FEATURES_URL": "http://f:1", "MLFLOW_URL": "http://m:2", "DATABASE_URL": "sqlite:////x", "RELEASE": "/r"}
    settings = load_settings({f"BEACON_{name}": text for name, text in given.items()})
    found = (settings.features_address, settings.mlflow_address, settings.database, settings.release_file)
    assert found == ("http://f:1", "http://m:2", "sqlite:////x", Path("/r"))


def test_an_empty_value_is_not_set():
    assert load_settings({"BEACON_HOME": "", "BEACON_INFERENCE_PORT": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("BEACON_INFERENCE_PROT", "80", "not a setting"),
        ("BEACON_INFERENCE_PORT", "eighty", "int"),
        ("BEACON_FEATURES_TIMEOUT_SECONDS", "soon", "float"),
        ("BEACON_ACCESS_LOG", "perhaps", "bool"),
        ("BEACON_LOG_LEVEL", "LOUD", "LOUD"),
    ],
)
def test_a_misspelt_name_or_wrong_value_is_refused_by_name(name, text, word):
    with pytest.raises(SettingsError, match=word) as caught:
        load_settings({name: text})
    assert name in str(caught.value)


def test_secrets_are_never_shown():
    given = {"api_key": "k-1", "feature_token": "t-2", "features_key": "f-5", "console_token": "c-4"}
    given |= {"console_session_key": "s-6", "oidc_client_secret": "o-7"}
    urls = {
        "database_url": "postgresql://u:p-3@h/d",  # kingfisher:ignore
        "lake_catalog_url": "postgresql://u:p-8@h/d",  # kingfisher:ignore
    }
    settings = Settings(**given, **urls)
    shown = settings.shown()
    assert {name for name, value in shown.items() if value == "***"} == SECRETS
    assert not {"k-1", "t-2", "p-3", "c-4", "f-5", "p-8"} & set(
        " ".join(shown.values()).replace(":", " ").replace("@", " ").split()
    )
    assert Settings().shown()["api_key"] == "", "an unset secret is seen to be unset"
