"""A console behind a proxy that logs people in, the limits of wrong tokens, and the rules of the settings."""

from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import fuzzing
from support.history import SHA
from support.service import METRICS_PORT, Service, scope_of
from support.settings import Settings

from beacon_console.app import create
from beacon_console.login import attempts, proxies
from beacon_console.login.attempts import Attempts
from beacon_console.login.oidc import local_path
from beacon_core.domain.errors import BeaconError, ConfigurationError
from beacon_core.platform.settings import SettingsError, load_settings
from beacon_core.web.http import Request

KEY = "k" * 40
GROUPS: dict[str, Any] = {"console_viewers": ("data",), "console_approvers": ("leads",)}
BEHIND: dict[str, Any] = {"console_login": "proxy", "console_session_key": KEY, "proxy_networks": ("127.0.0.0/8",)}
ADA = [("X-Forwarded-User", "ada"), ("X-Forwarded-Groups", "data, leads")]
FORM = {"decision": "approved", "sha256": SHA["3"], "person": "root", "reason": "it is better", "token": "a token"}
PATH = "/models/3/decision"


def behind(home, **changes):
    return create(Settings(home=home, console_metrics_port=METRICS_PORT, **BEHIND | GROUPS | changes))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (ADA, 200),
        ([("X-Forwarded-User", "ada"), ("X-Forwarded-Groups", "data")], 200),
        ([("X-Forwarded-User", "ada")], 403),
        ([("X-Forwarded-User", "ada"), ("X-Forwarded-Groups", "others")], 403),
        ([("X-Forwarded-Groups", "data")], 401),
        ([], 401),
        ([("X-Forwarded-User", ""), ("X-Forwarded-Groups", "data")], 401),
        # As clients try to add their own to what the proxy sets.
        ([("X-Forwarded-User", "eve"), *ADA], 401),
        ([*ADA, ("X-Forwarded-Groups", "leads")], 401),
        ([("X-Forwarded-User", "eve, ada"), ADA[1]], 401),
        ([("X_Forwarded_User", "eve"), ("X_Forwarded_Groups", "leads")], 401),
        ([("X-Forwarded-User", "\xff"), ADA[1]], 401),
        ([("X-Forwarded-User", "x" * 65), ADA[1]], 403),
    ],
)
def test_the_proxys_headers_say_who_it_is(tmp_path, headers, status):
    with Service(behind(tmp_path)) as console:
        assert console.get("/drift", headers).status == status
        assert console.get("/livez").status == 200


def test_the_header_with_a_line_below_counts_for_nothing(tmp_path):
    with Service(behind(tmp_path)) as console:
        page = console.get("/drift", [("X_Forwarded_User", "eve"), *ADA]).body.decode()
        assert "ada, approver" in page
        assert "eve" not in page


def test_a_client_that_is_not_the_proxy_is_nobody_whatever_it_says(tmp_path):
    with Service(behind(tmp_path, proxy_networks=("10.0.0.0/8",))) as console:
        answer = console.get("/drift", [*ADA, ("X-Forwarded-For", "10.0.0.1")])
        assert (answer.status, b"through its proxy alone" in answer.body) == (403, True)
        assert console.get("/readyz").status == 200


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("8.8.8.8", "1.2.3.4", "8.8.8.8"),
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "9.9.9.9, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "9.9.9.9, evil", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "", "fe80::/64"),
    ],
)
def test_the_address_is_what_the_last_proxy_saw(peer, forwarded, address):
    scope = scope_of("GET", "/", [(b"x-forwarded-for", forwarded.encode())] if forwarded else [])
    request = Request(scope | {"client": (peer, 1)})
    assert proxies.client_address(request, Settings(proxy_networks=("10.0.0.0/8",))) == address


def outcome(judge: Attempts, address: str, given: str) -> tuple[int, int | None]:
    try:
        judge.judge(address, given, "right")
    except BeaconError as error:
        return error.status, error.retry_after
    return 200, None


def test_wrong_tokens_are_slowed_down_by_address_and_overall(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(attempts, "time", SimpleNamespace(monotonic=lambda: now))
    judge = Attempts()
    assert [outcome(judge, "a", "wrong")[0] for _ in range(7)] == [401] * 5 + [429] * 2
    assert outcome(judge, "a", "right") == (429, 30), "a guess that is right is not told"
    assert outcome(judge, "b", "right") == (200, None)
    now += 30
    assert [outcome(judge, "a", "wrong")[0] for _ in range(2)] == [401, 429]
    now += 3600
    assert [outcome(judge, str(number), "wrong")[0] for number in range(35)] == [401] * 30 + [429] * 5
    assert outcome(judge, "b", "right")[0] == 429
    now += 2
    assert outcome(judge, "b", "right")[0] == 200


def test_of_any_number_of_addresses_so_many_are_kept(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(attempts, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(attempts, "MOST_ADDRESSES", 10)
    judge = Attempts()
    for number in range(100):
        now += 10
        outcome(judge, str(number), "wrong")
    assert len(judge._addresses) == 10


def test_the_page_of_too_many_attempts_says_when(tmp_path):
    kind = [("Content-Type", "application/x-www-form-urlencoded")]
    with Service(create(Settings(home=tmp_path, console_token="right"))) as console:
        answers = [console.post(PATH, urlencode(FORM | {"token": "no"}).encode(), kind) for _ in range(6)]
    assert [answer.status for answer in answers] == [401] * 5 + [429]
    assert 25 <= int(answers[-1].headers["retry-after"]) <= 30


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"console_session_key": ""}, "BEACON_CONSOLE_SESSION_KEY: must be 32"),
        ({"console_session_key": "short"}, "BEACON_CONSOLE_SESSION_KEY: must be 32"),
        ({"proxy_networks": ()}, "BEACON_PROXY_NETWORKS: must be set for BEACON_CONSOLE_LOGIN=proxy"),
        ({"console_viewers": (), "console_approvers": ()}, "BEACON_CONSOLE_VIEWERS: name the groups"),
        ({"console_login": "oidc"}, "BEACON_OIDC_ISSUER: must be set"),
        ({"oidc_issuer": "http://issuer.example"}, "BEACON_OIDC_ISSUER: must begin with https"),
        ({"oidc_redirect_url": "http://console.example/login/callback"}, "BEACON_OIDC_REDIRECT_URL: must begin with"),
        ({"oidc_redirect_url": "https://console.example/"}, "BEACON_OIDC_REDIRECT_URL: must end in /login/callback"),
    ],
)
def test_half_a_login_is_refused_by_the_setting_that_lacks(tmp_path, changes, words):
    login = {"oidc_client_id": "c", "oidc_client_secret": "s"}
    if any(name.startswith("oidc") for name in changes):
        login |= {"oidc_issuer": "https://i.example", "oidc_redirect_url": "https://c.example/login/callback"}
        login["console_login"] = "oidc"
    with pytest.raises(ConfigurationError, match=words):
        create(Settings(home=tmp_path, **BEHIND | GROUPS | login | changes))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PROXY_NETWORKS", "10.0.0.1/8"),
        ("PROXY_NETWORKS", "everywhere"),
        ("PROXY_USER_HEADER", "X Forwarded"),
        ("CONSOLE_SESSION_HOURS", "0"),
        ("CONSOLE_SESSION_HOURS", "nan"),
        ("CONSOLE_LOGIN", "ldap"),
        ("OIDC_ISSUER", "issuer.example"),
    ],
)
def test_a_wrong_setting_is_refused(name, text):
    with pytest.raises(SettingsError, match=f"BEACON_{name}: "):
        load_settings({f"BEACON_{name}": text})


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/drift?window=7d#x", "/drift?window=7d#x"),
        *[(each, "/") for each in ("", "drift", "//e.example", "///e.example", "/\\e.example", "https://e.example/")],
        *[(each, "/") for each in ("javascript:alert(1)", "/a\nb", "https:///e.example", "/\t/e.example")],
    ],
)
def test_a_login_leads_to_a_path_of_the_console_alone(target, path):
    assert local_path(target) == path


@fuzzing(200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((b"x-forwarded-user", b"x-forwarded-groups", b"x-forwarded-for", b"x-other")),
            st.binary(max_size=60),
        ),
        max_size=5,
    ),
    st.sampled_from(("127.0.0.1", "8.8.8.8", "", "unix:", "::1")),
    st.text(max_size=40),
)
def test_no_header_is_a_fault_of_the_console(headers, peer, target):
    settings = Settings(**BEHIND | GROUPS)
    request = Request(scope_of("GET", "/", headers) | {"client": (peer, 1) if peer else None})
    proxies.client_address(request, settings)
    assert local_path(target).startswith("/")
    try:
        proxies.logged_in(request, settings)
    except BeaconError as error:
        if error.status not in {401, 403}:
            raise
