"""The console behind a login: the real flow at an issuer that runs, by HTTP, and what those get who go around it."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from sqlalchemy import select
from support.history import SHA, add_verdict
from support.issuer import SECRET, Issuer, new_key
from support.products import SPEC
from support.server import CONSOLE, Server, serving

from beacon_core.data import retrain_requests
from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import approvals
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

KEY = "k" * 40
FORM = {"decision": "approved", "sha256": SHA["3"], "person": "somebody else", "reason": "it is better"}
DECISION = "/models/3/decision"
GROUPS = {"console_viewers": "data", "console_approvers": "leads,heads", "console_operators": "ops"}
CSRF = re.compile(r'name="csrf_token" value="([^"]+)"')
OPEN: list[httpx.Client] = []
"""The browsers of a test, closed at its end."""
LEADS = {"sub": "1", "email": "ada@example.com", "groups": ["leads"]}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Server]:
    """A console whose product asks for two people, with a model that passed."""
    home = tmp_path_factory.mktemp("console")
    shutil.copytree(SPEC.parent, home / "repo")
    policy = home / "repo" / "policy.yaml"
    text = policy.read_text().replace("mode: auto", "mode: manual")
    policy.write_text(f"{text}\napprovals: {{people: 2}}\n")
    server = Server(home, CONSOLE, product=home / "repo" / SPEC.name, console_session_key=KEY, **GROUPS)
    login = {"CONSOLE_LOGIN": "oidc", "OIDC_ISSUER": issuer.url, "OIDC_CLIENT_ID": "console"}
    login |= {"OIDC_CLIENT_SECRET": SECRET, "OIDC_REDIRECT_URL": f"{server.address}/login/callback"}
    server._environment |= {f"BEACON_{name}": value for name, value in login.items()}
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _as_new(issuer: Issuer, server: Server) -> Iterator[None]:
    engine = open_store(f"sqlite:///{server.home / 'beacon.db'}")
    migrate(engine)
    add_verdict(engine, load_product(server.home / "repo" / SPEC.name), datetime.now(UTC))
    yield
    engine.dispose()
    for client in OPEN:
        client.close()
    OPEN.clear()
    issuer.user, issuer.change, issuer.sign_as = dict(LEADS), dict, issuer.sign
    assert "Traceback" not in server.log()


def browser(server: Server) -> httpx.Client:
    OPEN.append(httpx.Client(base_url=server.address, follow_redirects=True, timeout=60))
    return OPEN[-1]


def logged_in(server: Server, issuer: Issuer, email: str, *groups: str) -> httpx.Client:
    issuer.user = {"sub": email, "email": email, "groups": list(groups)}
    client = browser(server)
    answer = client.get("/models/3?a=b")
    assert (answer.status_code, str(answer.url)) == (200, f"{server.address}/models/3?a=b"), answer.text
    return client


def token_of(client: httpx.Client) -> str:
    found = CSRF.search(client.get("/models/3").text)
    assert found is not None
    return found[1]


def decide(client: httpx.Client, **changes: str) -> httpx.Response:
    return client.post(DECISION, data=FORM | {"csrf_token": token_of(client)} | changes, follow_redirects=False)


def kept(server: Server) -> list[tuple[str, str]]:
    with open_store(f"sqlite:///{server.home / 'beacon.db'}").connect() as connection:
        return [(row.decision, row.person) for row in connection.execute(select(approvals).order_by(approvals.c.id))]


def began(client: httpx.Client) -> dict[str, str]:
    """What the console asks the issuer, by its redirect."""
    answer = client.get("/login", follow_redirects=False)
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def code_of(issuer: Issuer, client: httpx.Client, **changes: str) -> tuple[str, str]:
    """Code and state, as the issuer sends them back."""
    answer = httpx.get(f"{issuer.url}/authorize", params=began(client) | changes)
    back = parse_qs(urlsplit(answer.headers["location"]).query)
    return back["code"][0], back["state"][0]


def test_nobody_sees_a_page_without_a_login(server: Server) -> None:
    with httpx.Client(base_url=server.address) as client:
        for path in ("/", "/models/3", "/predictions?id=x", "/no/such/page", "/promotions"):
            answer = client.get(path)
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/login?next=%2F"), path
        answer = client.post(DECISION, data=FORM)
        assert (answer.status_code, "Nobody is logged in" in answer.text) == (401, True)
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
        assert client.get("/metrics").status_code == 303, "which has a port of its own"
        assert "beacon_store_up 1" in httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics").text


def test_the_login_asks_for_pkce_state_and_nonce_and_its_cookie_is_guarded(server: Server) -> None:
    with httpx.Client(base_url=server.address) as client:
        answer = client.get("/login?next=/drift")
        asked = parse_qs(urlsplit(answer.headers["location"]).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert asked["response_type"] == ["code"]
        assert all(len(asked[name][0]) >= 20 for name in ("state", "nonce", "code_challenge"))
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie


def test_two_people_approve_under_their_own_names(server: Server, issuer: Issuer) -> None:
    ada = logged_in(server, issuer, "ada@example.com", "data", "leads")
    page = ada.get("/models/3").text
    assert "ada@example.com, approver" in page
    assert 'name="person"' not in page
    assert 'name="token"' not in page
    assert decide(ada).status_code == 303
    again = decide(ada)
    assert (again.status_code, "asks for 2 different people" in again.text) == (409, True)
    assert "1 model waits for approval" in ada.get("/").text
    bob = logged_in(server, issuer, "bob@example.com", "heads")
    assert decide(bob).status_code == 303
    assert kept(server) == [("approved", "ada@example.com"), ("approved", "bob@example.com")]
    assert "1 model waits for approval" not in bob.get("/").text
    assert decide(bob, decision="rejected").status_code == 303, "one is enough"
    assert kept(server)[-1] == ("rejected", "bob@example.com")


def test_a_viewer_reads_and_decides_nothing(server: Server, issuer: Issuer) -> None:
    before = kept(server)
    viewer = logged_in(server, issuer, "eve@example.com", "data")
    page = viewer.get("/models/3").text
    assert "Decisions take the role approver, and eve@example.com is viewer." in page
    answer = decide(viewer)
    assert (answer.status_code, "takes the role approver" in answer.text) == (403, True)
    assert kept(server) == before


def test_an_operator_requests_a_retraining_and_an_approver_does_not(server: Server, issuer: Issuer) -> None:
    asked = {"reason": "new prices came in", "person": "somebody else"}
    lead = logged_in(server, issuer, "ada@example.com", "leads")
    assert "takes the role operator, and ada@example.com is approver" in lead.get("/jobs").text
    answer = lead.post("/retraining", data=asked | {"csrf_token": token_of(lead)}, follow_redirects=False)
    assert (answer.status_code, "takes the role operator" in answer.text) == (403, True)
    operator = logged_in(server, issuer, "olga@example.com", "ops")
    assert operator.post("/retraining", data=asked, follow_redirects=False).status_code == 403, "no hidden token"
    answer = operator.post("/retraining", data=asked | {"csrf_token": token_of(operator)}, follow_redirects=False)
    assert answer.status_code == 303
    with open_store(f"sqlite:///{server.home / 'beacon.db'}").connect() as connection:
        assert [item.requested_by for item in retrain_requests.newest(connection, 9)] == ["olga@example.com"]


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"groups": ["others"]}, "none of their groups has a role"),
        ({"groups": []}, "none of their groups has a role"),
        ({"groups": {"leads": 1}}, "none of their groups has a role"),
        ({"email": None}, "gave no name that can be kept"),
        ({"email": "x" * 65}, "gave no name that can be kept"),
        ({"email": "two\nlines"}, "gave no name that can be kept"),
        ({"email_verified": False}, "did not verify this address"),
    ],
)
def test_who_has_no_role_or_name_stays_out(server: Server, issuer: Issuer, user: dict[str, Any], words: str) -> None:
    issuer.user = {name: value for name, value in (LEADS | user).items() if value is not None}
    with browser(server) as client:
        answer = client.get("/")
        assert (answer.status_code, words in answer.text) == (403, True)
        assert client.get("/drift", follow_redirects=False).status_code == 303, "nobody is logged in"


def test_a_logout_ends_the_session(server: Server, issuer: Issuer) -> None:
    client = logged_in(server, issuer, "ada@example.com", "leads")
    assert client.post("/logout").status_code == 403, "not by another site's form"
    assert client.get("/drift", follow_redirects=False).status_code == 200
    answer = client.post("/logout", data={"csrf_token": token_of(client)})
    assert (answer.status_code, f'href="{issuer.url}/logout"' in answer.text) == (200, True)
    assert client.get("/drift", follow_redirects=False).status_code == 303


@pytest.mark.parametrize("token", [None, "", "x", "of another session"])
def test_a_form_without_the_sessions_token_decides_nothing(server: Server, issuer: Issuer, token: str | None) -> None:
    before = kept(server)
    client = logged_in(server, issuer, "ada@example.com", "leads")
    if token == "of another session":
        token = token_of(logged_in(server, issuer, "eve@example.com", "leads"))
    answer = client.post(DECISION, data=FORM | ({} if token is None else {"csrf_token": token}))
    assert (answer.status_code, "Nothing was done" in answer.text) == (403, True)
    site = client.post(DECISION, data=FORM | {"csrf_token": token_of(client)}, headers={"Sec-Fetch-Site": "cross-site"})
    assert site.status_code == 401
    assert kept(server) == before


def test_every_form_has_the_sessions_token(server: Server, issuer: Issuer) -> None:
    """A form without it is refused as another site's, whatever page it is on."""
    folder = ROOT / "services" / "console" / "beacon_console"
    for template in folder.rglob("*.html"):
        forms = re.findall(r'<form[^>]*method="post".*?</form>', template.read_text(), re.DOTALL)
        assert all(re.search(r"form_token\(\)|decider\(\)|csrf_token\(\)", form) for form in forms), template
    client = logged_in(server, issuer, "eve@example.com", "data")
    page = client.get("/what-if").text
    token = CSRF.search(page[page.index('action="/what-if') :])
    assert token
    assert client.post("/what-if", data={}).status_code == 403
    asked = client.post("/what-if", data={"csrf_token": token[1]})
    assert (asked.status_code, "What if?" in asked.text) == (200, True), "a viewer may ask"


def signed(key: str, content: dict[str, Any]) -> str:
    """A session's cookie, as the console would sign it with this key."""
    app = Flask("forger")
    app.secret_key = key
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    return str(serializer.dumps(content))


def test_only_a_session_of_the_consoles_key_that_is_not_over_counts(server: Server) -> None:
    content = {"person": "mallory", "groups": ["leads"], "until": 4e9}
    for key, session, status in (
        (KEY, content, 200),  # which the key is for
        ("x" * 40, content, 303),
        (KEY, content | {"until": 1.0}, 303),
        (KEY, content | {"until": "never"}, 303),
        (KEY, {"person": "mallory"}, 303),
        (KEY, content | {"groups": []}, 403),
    ):
        cookie = {"beacon_console": signed(key, session)}
        assert httpx.get(f"{server.address}/drift", cookies=cookie).status_code == status, (key, session)
    for text in ("", "x", "e30.x.y", "." * 100, "y" * 4000):
        assert httpx.get(f"{server.address}/drift", cookies={"beacon_console": text}).status_code == 303


def test_a_callback_needs_the_state_of_this_browser(server: Server, issuer: Issuer) -> None:
    with httpx.Client(base_url=server.address) as client, httpx.Client(base_url=server.address) as other:
        code, state = code_of(issuer, client)
        for given in (
            {"code": code, "state": "wrong"},
            {"code": code},
            {"state": state},
            {"code": "wrong", "state": code_of(issuer, client)[1]},
            {"error": "access_denied", "state": state},
            {},
        ):
            answer = client.get("/login/callback", params=given)
            assert (answer.status_code, "Nobody is logged in" in answer.text) == (401, True), given
        code, state = code_of(issuer, client)
        assert other.get("/login/callback", params={"code": code, "state": state}).status_code == 401
        assert client.get("/login/callback", params={"code": code, "state": state}).status_code == 303
        assert client.get("/drift").status_code == 200
        assert client.get("/login/callback", params={"code": code, "state": state}).status_code == 401


def test_a_code_counts_once_and_with_its_own_verifier_alone(server: Server, issuer: Issuer) -> None:
    with httpx.Client(base_url=server.address) as client, httpx.Client(base_url=server.address) as thief:
        code, state = code_of(issuer, client)
        before = dict(client.cookies)
        assert client.get("/login/callback", params={"code": code, "state": state}).status_code == 303
        # Replayed with the cookie of then.
        replay = httpx.get(f"{server.address}/login/callback", params={"code": code, "state": state}, cookies=before)
        assert replay.status_code == 401
        # A code of somebody else's login, put into one's own: PKCE.
        stolen, _ = code_of(issuer, client)
        own = began(thief)["state"]
        assert thief.get("/login/callback", params={"code": stolen, "state": own}).status_code == 401


def forged(issuer: Issuer, how: str, claims: dict[str, Any]) -> str:
    key = issuer.keys[-1]
    if how == "another key":
        return issuer.sign(claims, new_key(key.name))
    if how == "alg none":
        head, body, _ = issuer.sign(claims).split(".")
        return f"{'eyJhbGciOiJub25lIn0'}.{body}."
    import jwt
    from jwt.api_jws import PyJWS

    pem = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "kid": key.name}).encode())
    content = head + b"." + jwt.utils.base64url_encode(json.dumps(claims).encode())
    signature = PyJWS().get_algorithm_by_name("HS256").sign(content, pem)
    return (content + b"." + jwt.utils.base64url_encode(signature)).decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "wrong"},
        {"nonce": None},
        {"exp": 1},
        {"aud": "another"},
        {"iss": "https://elsewhere.example"},
        {"sub": None},
        "alg none",
        "HS256",
        "another key",
    ],
)
def test_an_id_token_that_is_not_for_this_login_logs_nobody_in(server: Server, issuer: Issuer, changes: Any) -> None:
    if isinstance(changes, str):
        issuer.sign_as = lambda claims: forged(issuer, changes, claims)
    else:
        issuer.change = lambda claims: {k: v for k, v in (claims | changes).items() if v is not None}
    with browser(server) as client:
        answer = client.get("/drift")
        assert (answer.status_code, "Nobody is logged in" in answer.text) == (401, True)
        assert client.get("/drift", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:x", "evil"]
)
def test_a_login_leads_to_no_other_site(server: Server, issuer: Issuer, target: str) -> None:
    issuer.user = dict(LEADS)
    with browser(server) as client:
        answer = client.get("/login", params={"next": target})
        assert (answer.status_code, str(answer.url)) == (200, f"{server.address}/")


def test_an_issuer_that_is_away_is_a_page(tmp_path: Path) -> None:
    issuer = Issuer()
    login = {
        "console_login": "oidc",
        "oidc_issuer": issuer.url,
        "oidc_client_id": "console",
        "console_session_key": KEY,
    }
    login |= {"oidc_client_secret": SECRET, "oidc_redirect_url": "http://127.0.0.1:1/login/callback"}
    with serving(tmp_path, CONSOLE, **login, **GROUPS) as server:
        answer = httpx.get(f"{server.address}/drift", follow_redirects=True)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "issuer does not answer" in answer.text
        assert "Traceback" not in server.log()
        assert SECRET not in server.log()


def test_behind_a_proxy_a_decision_has_its_name_and_needs_the_forms_token(tmp_path: Path, product: Product) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    add_verdict(engine, product, datetime.now(UTC))
    login = {"console_login": "proxy", "proxy_networks": "127.0.0.1", "console_session_key": KEY}
    ada = {"X-Forwarded-User": "ada", "X-Forwarded-Groups": "data, leads"}
    with serving(tmp_path, CONSOLE, console_token="a token", **login, **GROUPS) as server:
        url = f"{server.address}{DECISION}"
        assert httpx.post(url, data=FORM | {"token": "a token"}, headers=ada).status_code == 403
        page = httpx.get(f"{server.address}/models/3", headers=ada)
        cookie = page.headers["set-cookie"]
        assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=Lax"))
        found = CSRF.search(page.text)
        assert found is not None
        form, session = FORM | {"csrf_token": found[1]}, {"Cookie": cookie.partition(";")[0]}
        assert httpx.post(url, data=form, headers=session).status_code == 401, "the session alone logs nobody in"
        assert httpx.post(url, data=form, headers=session | ada).status_code == 303
    assert kept(server) == [("approved", "ada")]
    engine.dispose()
