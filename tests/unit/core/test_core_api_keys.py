"""API keys: the rules of their file, who may do what, and a file that changes while a service runs."""

import logging
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support.api_keys import entry, write_keys
from support.settings import Settings

from beacon_core.commands import keys as command
from beacon_core.domain.api_keys import SCOPES, ApiKeysError, Scope, new_key
from beacon_core.domain.errors import BeaconError, ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.domain.quotas import DAY_RULE, RATE_RULE
from beacon_core.platform.api_keys_file import read_api_keys
from beacon_core.platform.settings import SettingsError, load_settings
from beacon_core.web.access import AccessControl
from beacon_core.web.http import Request

AN_ENTRY = f"keys: [{{name: shop, sha256: {'a' * 64}, scopes: [predict]"
NOT_FINITE = (".nan", ".inf", "-.inf", "nan", "1e", "~1")
RATES, DAYS = ("requests_per_second", "rows_per_second"), ("requests_per_day", "rows_per_day")
BAD_NUMBERS = (0, -1, -0.0, 0.0009, 1e9 + 1, 1e300)
KEY, OTHER = new_key(), new_key()
GOOD = entry("shop", KEY, "predict")
SERVED: frozenset[Scope] = frozenset({"predict", "actuals", "synthetic"})


def request_with(**headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"method": "POST", "headers": fields})


def access_to(
    file: Path | None, own: str = "", *required: Scope, registry: CollectorRegistry | None = None
) -> AccessControl:
    settings = Settings(api_keys_file=file, closed_scopes=required)
    return AccessControl(settings, SERVED, ("api-key", own), registry or CollectorRegistry())


def refused(access: AccessControl, scope: Scope, **headers: str) -> tuple[int, str, str]:
    request = request_with(**headers)
    with pytest.raises(BeaconError) as caught:
        access.check(request, scope)
    return caught.value.status, request.client, caught.value.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "(file): is empty"),
        ("keys: []", "keys: must have at least one key"),
        ("key: []", "(top): has the unknown key `key`"),
        ("{}", "(top): lacks the key `keys`"),
        ("keys: shop", "keys: must be a list"),
        ("keys: [{name: shop}]", "keys[0]: lacks the key `sha256`"),
        ("keys: [\n", "is not YAML"),
        (b"keys: \xff", "is not YAML in UTF-8"),
        ({"name": "Shop"}, "keys[1].name: must be 1 to 63 small letters"),
        ({"name": "shop\n"}, "keys[1].name"),
        ({"name": "anonymous"}, "keys[1].name: must not be anonymous or api-key"),
        ({"name": 7}, "keys[1].name: must be text"),
        ({"sha256": "ab"}, "keys[1].sha256: must be 64 hexadecimal digits"),
        ({"sha256": sha256(b"").hexdigest()}, "keys[1].sha256: is the digest of nothing"),
        ({"sha256": GOOD["sha256"]}, "keys[1].sha256: is the digest of keys[0], too"),
        ({"scopes": []}, "keys[1].scopes: must name at least one of predict"),
        ({"scopes": ["predct"]}, "keys[1].scopes[0]: must be"),
        ({"scopes": ["predict", "predict"]}, "keys[1].scopes: must not name one twice"),
        ({"expires": "soon"}, "keys[1].expires: must be a time such as"),
        ({"expires": "2027-01-31T12:00:00"}, "keys[1].expires: needs a time zone"),
        ({"expire": "2027-01-31"}, "has the unknown key `expire`"),
        *[({name: bad}, f"keys[1].{name}: {RATE_RULE}") for name in RATES for bad in BAD_NUMBERS],
        *[({name: bad}, f"keys[1].{name}: {DAY_RULE}") for name in DAYS for bad in (0, -1, 10**12 + 1)],
        *[({name: bad}, f"keys[1].{name}: must be") for name in (*RATES, *DAYS) for bad in ("10", "", True, [], {})],
        *[({name: bad}, f"keys[1].{name}: must be") for name in DAYS for bad in (0.5, 1e300)],
        *[(f"{AN_ENTRY}, {name}: {bad}}}]", f"keys[0].{name}: ") for name in RATES for bad in NOT_FINITE],
        *[(f"{AN_ENTRY}, {name}: {bad}}}]", f"keys[0].{name}: ") for name in DAYS for bad in NOT_FINITE],
        ({"name": "shop", "rows_per_day": 7}, "keys[1].rows_per_day: must be that of keys[0], which is of the same"),
        ({"requests_per_minute": 7}, "has the unknown key `requests_per_minute`"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_by_key_and_rule(
    tmp_path: Path, content: str | bytes | dict[str, Any], words: str
) -> None:
    file = tmp_path / "keys.yaml"
    if isinstance(content, dict):
        write_keys(file, GOOD, entry("other", OTHER, "predict") | content)
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ApiKeysError) as caught:
        access_to(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert words in message
    assert "\n" not in message


def test_a_key_in_the_wrong_place_is_not_quoted(tmp_path: Path) -> None:
    file = write_keys(tmp_path / "keys.json", GOOD | {"scopes": [KEY]})
    with pytest.raises(ApiKeysError) as caught:
        read_api_keys(file)
    assert KEY[:20] in str(caught.value)
    assert KEY[:20] not in message_of(caught.value), "which is what is logged"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ApiKeysError, match="No such file"):
        access_to(tmp_path / "keys.yaml")


def test_each_key_may_do_what_its_scopes_say(tmp_path: Path) -> None:
    access = access_to(write_keys(tmp_path / "keys.json", GOOD, entry("lab", OTHER, "actuals", "synthetic")))
    for header in (
        {"x_api_key": OTHER},
        {"authorization": f"Bearer {OTHER}"},
        {"authorization": f"bearer  {OTHER} "},
        {"x_api_key": OTHER, "authorization": "Bearer of-the-gateway"},
    ):
        request = request_with(**header)
        access.check(request, "actuals")
        assert request.client == "lab"
    assert refused(access, "actuals") == (401, "anonymous", "send an API key as X-API-Key or as a Bearer token")
    assert refused(access, "actuals", x_api_key=OTHER + "x")[:2] == (401, "anonymous")
    assert refused(access, "actuals", authorization=f"Basic {OTHER}")[:2] == (401, "anonymous")
    forbidden = (403, "shop", "the API key of shop has not the scope actuals")
    assert refused(access, "actuals", x_api_key=KEY) == forbidden


def test_predictions_are_open_unless_a_setting_closes_them(tmp_path: Path) -> None:
    file = write_keys(tmp_path / "keys.json", GOOD, entry("lab", OTHER, "actuals"))
    opened, closed = access_to(file), access_to(file, "", "predict")
    for headers, client in (({}, "anonymous"), ({"x_api_key": "no"}, "anonymous"), ({"x_api_key": KEY}, "shop")):
        request = request_with(**headers)
        opened.check(request, "predict")
        assert request.client == client
    closed.check(request_with(x_api_key=KEY), "predict")
    assert refused(closed, "predict")[0] == 401
    assert refused(closed, "predict", x_api_key=OTHER)[0] == 403


def test_an_expired_key_is_told_so(tmp_path: Path) -> None:
    file = write_keys(tmp_path / "keys.json", GOOD | {"scopes": ["actuals"], "expires": "2020-02-01T01:00:00+01:00"})
    message = "the API key of shop expired at 2020-02-01T00:00:00Z"
    assert refused(access_to(file), "actuals", x_api_key=KEY) == (401, "shop", message)


def test_the_key_of_the_setting_has_all_scopes_beside_the_file(tmp_path: Path) -> None:
    for file in (None, write_keys(tmp_path / "keys.json", GOOD)):
        access = access_to(file, "open-sésame", "predict")
        for scope in SERVED:
            request = request_with()
            request.headers[b"x-api-key"] = "open-sésame".encode()
            access.check(request, scope)
            assert request.client == "api-key"
        assert refused(access, "actuals")[0] == 401


def test_without_any_key_all_is_open_and_nobody_is_named() -> None:
    access = access_to(None)
    request = request_with(x_api_key="whatever")
    access.check(request, "actuals")
    assert (access.has_keys, request.client) == (False, "")


def test_a_route_that_needs_a_key_needs_one_to_be_set() -> None:
    with pytest.raises(ConfigurationError, match="BEACON_CLOSED_SCOPES"):
        access_to(None, "", "predict")
    access_to(None, "", "features")  # which this service does not serve


def test_a_changed_file_counts_and_a_bad_one_leaves_the_last_good_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()

    def figure(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    file = write_keys(tmp_path / "keys.json", GOOD | {"scopes": ["actuals"], "expires": "2099-01-01"})
    access = access_to(file, registry=registry)
    assert figure("beacon_api_keys") == 1
    assert figure("beacon_api_key_expires_timestamp_seconds", client="shop") == 4070908800

    file.write_text('{"keys": [', encoding="utf-8")
    with caplog.at_level(logging.ERROR):
        access.refresh()
        access.refresh()
    assert len(caplog.records) == 1, "once for each mistake"
    assert figure("beacon_api_keys_file_failures_total") == 2
    access.check(request_with(x_api_key=KEY), "actuals")

    file.unlink()
    access.refresh()
    assert figure("beacon_api_keys_file_failures_total") == 3
    access.check(request_with(x_api_key=KEY), "actuals")

    # Both keys of a client count while it changes from one to the other.
    write_keys(file, entry("shop", KEY, "actuals", expires="2099-01-01"), entry("shop", OTHER, "actuals"))
    access.refresh()
    for key in (KEY, OTHER):
        access.check(request_with(x_api_key=key), "actuals")
    assert figure("beacon_api_key_expires_timestamp_seconds", client="shop") is None, "its new key has no end"

    write_keys(file, entry("shop", OTHER, "actuals"))
    access.refresh()
    assert refused(access, "actuals", x_api_key=KEY)[0] == 401
    assert figure("beacon_api_keys_file_failures_total") == 3


def test_a_file_that_is_good_again_unchanged_is_no_failure(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    file = write_keys(tmp_path / "keys.json", GOOD)
    access = access_to(file, registry=registry)
    content = file.read_bytes()
    for _ in range(2):
        file.write_bytes(b"")
        access.refresh()
        file.write_bytes(content)
        access.refresh()
    assert registry.get_sample_value("beacon_api_keys_file_failures_total") == 2


@pytest.mark.parametrize("text", ["actuals", "predict,actuals", "Predict"])
def test_the_setting_names_scopes_that_may_be_open(text: str) -> None:
    with pytest.raises(SettingsError, match=r"BEACON_CLOSED_SCOPES: .*predict, explain, features"):
        load_settings({"BEACON_CLOSED_SCOPES": text})
    assert load_settings({"BEACON_CLOSED_SCOPES": "features, predict,"}).closed_scopes == ("predict", "features")


def run_keys(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["beacon keys", *arguments])
    return command.main(Settings())


def test_a_new_key_opens_what_its_entry_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quotas = ("--requests-per-second", "0.5", "--rows-per-day", "1000000")
    made = ("new", "shop", "--scopes", ",".join(SCOPES), "--expires", "2099-01-31", *quotas)
    assert run_keys(monkeypatch, *made) == 0
    first, _, second = capsys.readouterr().out.partition("Its entry")
    (key,) = [line.strip() for line in first.splitlines() if line.startswith("    ")]
    assert len(key) > 43
    assert key not in second
    file = tmp_path / "keys.yaml"
    file.write_text("keys:\n" + second.partition("\n\n")[2], encoding="utf-8")
    access_to(file).check(request_with(x_api_key=key), "actuals")

    assert run_keys(monkeypatch, "check", str(file)) == 0
    told = capsys.readouterr().out
    assert told.startswith("shop  ")
    assert told.endswith("expires: 2099-01-31T00:00:00Z  requests_per_second: 0.5  rows_per_day: 1000000\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("new", "Shop", "--scopes", "predict"), "name: must be"),
        (("new", "shop", "--scopes", "all"), r"scopes\[0\]: must be"),
        (("new", "shop", "--scopes", "predict", "--expires", "2020-01-01"), "--expires: 2020-01-01 is over"),
        (("new", "shop", "--scopes", "predict", "--expires", "soon"), "--expires: must be a time"),
        (("new", "shop", "--scopes", "predict", "--rows-per-second", "nan"), "rows_per_second: must be a number"),
        (("check",), "name a file"),
        (("check", "nowhere.yaml"), "No such file"),
    ],
)
def test_a_command_that_breaks_a_rule_is_refused(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        run_keys(monkeypatch, *arguments)
