"""JWTs of an issuer that runs: which count, for what, and what becomes of a request while the issuer is away."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from support.api_keys import entry, write_keys
from support.fuzzing import fuzzing
from support.issuer import ALGORITHMS, Issuer, new_key
from support.settings import Settings

from beacon_core.domain.api_keys import Scope
from beacon_core.domain.api_keys import new_key as new_api_key
from beacon_core.domain.errors import BeaconError, ConfigurationError
from beacon_core.domain.quotas import Quota
from beacon_core.observability.client_labels import MOST_LABELS, ClientLabels
from beacon_core.platform.settings import SettingsError, load_settings
from beacon_core.web import issuer_keys
from beacon_core.web.access import AccessControl, check_api_keys
from beacon_core.web.http import Request
from beacon_core.web.issuer_keys import KeySetError, read_key_set

SERVED: frozenset[Scope] = frozenset({"predict", "actuals", "synthetic"})
FEW = 300


def by_digest(text: str) -> str:
    return f"jwt:sha256-{sha256(text.encode()).hexdigest()[:32]}"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


def settings_of(issuer: Issuer, **changes: Any) -> Settings:
    given = {"jwt_issuer": issuer.url, "jwt_audience": "beacon", "jwt_jwks_url": issuer.jwks_url}
    return Settings(**given | changes)


def access_to(issuer: Issuer, registry: CollectorRegistry | None = None, **changes: Any) -> AccessControl:
    return AccessControl(settings_of(issuer, **changes), SERVED, ("api-key", ""), registry or CollectorRegistry())


def request_with(token: str, **headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"method": "POST", "headers": [*fields, (b"authorization", f"Bearer {token}".encode("latin-1"))]})


def admitted(access: AccessControl, token: str, scope: Scope = "actuals") -> tuple[int, str, str]:
    """Status, client and message of a request, as the middleware has it."""

    async def ask() -> tuple[int, str, str]:
        request = request_with(token)
        try:
            try:
                access.admit(request, scope)
            except BeaconError as error:
                if type(error).__name__ != "UnknownKeyError":
                    raise
                await access.ask_issuer()
                access.admit(request, scope, asked=True)
        except BeaconError as error:
            return error.status, request.client, error.message
        return 200, request.client, ""

    return asyncio.run(ask())


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_a_token_that_a_client_gets_for_its_secret_counts(issuer: Issuer, algorithm: str) -> None:
    if algorithm != "RS256":
        issuer.keys = [new_key("other", algorithm)]
        token = issuer.sign(issuer.claims(client_id="web-shop", scope="openid actuals"))
    else:
        token = issuer.client_credentials("web-shop", "openid actuals")
    access = access_to(issuer)
    assert access.has_keys
    assert admitted(access, token) == (200, "jwt:web-shop", "")
    forbidden = (403, "jwt:web-shop", "the JWT of jwt:web-shop has not the scope synthetic")
    assert admitted(access, token, "synthetic") == forbidden
    assert admitted(access, token, "predict") == (200, "jwt:web-shop", ""), "predictions are open"
    assert issuer.asked == 1, "its keys are kept"


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": 1}, "the JWT expired"),
        ({"exp": None}, "the JWT lacks the claim exp"),
        ({"nbf": time.time() + 3600}, "the JWT is not valid yet"),
        ({"iat": time.time() + 3600}, "the JWT is not valid yet"),
        ({"aud": "another"}, "the JWT is for another audience"),
        ({"aud": ["another", "third"]}, "the JWT is for another audience"),
        ({"aud": None}, "the JWT lacks the claim aud"),
        ({"iss": "https://elsewhere.example"}, "the JWT is of another issuer"),
        ({"iss": None}, "the JWT lacks the claim iss"),
        ({"sub": None}, "the JWT names no client"),
        ({"sub": 7}, "the JWT "),
        ({"exp": "soon"}, "the JWT "),
        ({"exp": 1e400}, "the JWT "),
        ({"exp": []}, "the JWT "),
    ],
)
def test_a_token_that_is_not_for_this_does_not_count(issuer: Issuer, claims: dict[str, Any], words: str) -> None:
    access = access_to(issuer, closed_scopes=("predict",))
    token = issuer.sign(issuer.claims(scope="actuals predict") | {"x": 1})
    assert admitted(access, token)[0] == 200
    facts = issuer.claims(scope="actuals predict", **claims)
    status, client, message = admitted(access, issuer.sign(facts))
    assert (status, client) == (401, "anonymous")
    assert message.startswith(words)


def part(facts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(facts).encode()).rstrip(b"=").decode()


def forgeries(issuer: Issuer) -> dict[str, tuple[str, str]]:
    """Tokens that somebody without the key makes, and what they are told."""
    key = issuer.keys[0]
    claims = issuer.claims(scope="actuals")
    good = issuer.sign(claims)
    head, body, signature = good.split(".")
    pem = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(pem).decode(), "kid": key.name}
    signed = jwt.api_jws.PyJWS(options={"enforce_minimum_key_length": False})
    algorithm = signed.get_algorithm_by_name("HS256")
    public = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': key.name})}.{body}"
    with_public = base64.urlsafe_b64encode(algorithm.sign(public.encode(), pem)).rstrip(b"=").decode()
    own, elliptic = new_key("first"), new_key("first", "ES256")
    deep = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()
    must = "the JWT must be signed by ES256, EdDSA, RS256"
    return {
        "without a signature": (f"{head}.{body}.", "the JWT has a wrong signature"),
        "alg none": (f"{part({'alg': 'none', 'typ': 'JWT'})}.{body}.", must),
        "alg None": (f"{part({'alg': 'None', 'kid': key.name})}.{body}.{signature}", must),
        "alg of a list": (f"{part({'alg': ['RS256'], 'kid': key.name})}.{body}.{signature}", "the JWT "),
        "HS256 by the public key": (f"{public}.{with_public}", must),
        "RS512": (jwt.encode(claims, key.private, "RS512", {"kid": key.name}), must),
        "a key of its own": (issuer.sign(claims, own), "the JWT has a wrong signature"),
        "another algorithm": (issuer.sign(claims, elliptic), "the JWT is signed by ES256, and its key is for RS256"),
        "a key in the header": (issuer.sign(claims, own, jwk=own.public()), "the JWT has a wrong signature"),
        "an address of a key": (issuer.sign(claims, own, jku="http://127.0.0.1:1/"), "the JWT has a wrong signature"),
        "a secret in the header": (f"{part({'alg': 'HS256', 'jwk': secret})}.{body}.{signature}", must),
        "a critical header": (issuer.sign(claims, key, crit=["exp"], exp=1), "the JWT cannot be read"),
        "other claims": (f"{head}.{part(claims | {'sub': 'root'})}.{signature}", "the JWT has a wrong signature"),
        "an unknown kid": (issuer.sign(claims, new_key("nobody")), "the JWT is signed by a key that its issuer"),
        "a path as kid": (issuer.sign(claims, own, kid="../../../dev/null"), "the JWT is signed by a key that its"),
        "a number as kid": (f"{part({'alg': 'RS256', 'kid': 7})}.{body}.{signature}", "the JWT cannot be read"),
        "a huge token": (issuer.sign(claims | {"x": "y" * 8192}), "the JWT is longer than 8192 bytes"),
        "a deep header": (f"{deep}.{body}.{signature}", "the JWT cannot be read"),
        "no base64": ("ä.ö.ü", "the JWT cannot be read"),
        "nothing": ("..", "the JWT cannot be read"),
    }


def test_no_forged_token_counts(issuer: Issuer) -> None:
    access = access_to(issuer)
    assert admitted(access, issuer.sign(issuer.claims(scope="actuals")))[0] == 200
    for name, (token, words) in forgeries(issuer).items():
        status, client, message = admitted(access, token)
        assert (name, status, client) == (name, 401, "anonymous")
        assert message.startswith(words), name
        assert admitted(access, token, "predict") == (200, "anonymous", ""), "an open route ignores it"
    # As keys may: what is no JWT at all is an API key that nobody knows.
    request = request_with("a.b")
    with pytest.raises(BeaconError, match="the API key is not known"):
        access.check(request, "actuals")


def test_api_keys_and_tokens_count_beside_each_other(issuer: Issuer, tmp_path: Any) -> None:
    key = new_api_key()
    file = write_keys(tmp_path / "keys.json", entry("shop", key, "actuals"))
    access = access_to(issuer, api_keys_file=file)
    token = issuer.sign(issuer.claims(scope="actuals"))
    assert admitted(access, token) == (200, "jwt:shop", ""), "which no API key can be called"
    for headers in ({"x_api_key": key}, {"x_api_key": key, "authorization": f"Bearer {token}"}):
        fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        request = Request({"method": "POST", "headers": fields})
        access.check(request, "actuals")
        assert request.client == "shop"


def test_an_issuer_that_is_away_stops_no_key(tmp_path: Any) -> None:
    key = new_api_key()
    file = write_keys(tmp_path / "keys.json", entry("shop", key, "actuals"))
    issuer = Issuer()  # not running yet
    token = issuer.sign(issuer.claims(scope="actuals"))
    registry = CollectorRegistry()
    access = access_to(issuer, registry, api_keys_file=file)
    access.check(request_with(key), "actuals")
    away = (401, "anonymous", "the JWT cannot be checked: its issuer's keys could not be fetched yet")
    assert admitted(access, token) == away
    assert registry.get_sample_value("beacon_jwt_issuer_keys_failures_total") == 1
    with issuer:
        assert admitted(access, token) == away, "it was asked a moment ago"
        assert issuer.asked == 0
        asyncio.run(access._tokens.keys.fetch())  # type: ignore[union-attr] - as it does every ten seconds
        assert admitted(access, token) == (200, "jwt:shop", "")
    assert registry.get_sample_value("beacon_jwt_issuer_keys") == 1
    asyncio.run(access._tokens.keys.fetch())  # type: ignore[union-attr]
    assert admitted(access, token)[0] == 200, "the last keys count while it is away again"
    assert registry.get_sample_value("beacon_jwt_issuer_keys_failures_total") == 2


def test_a_new_key_counts_at_once_and_unknown_ones_ask_once_a_minute(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = access_to(issuer)
    assert admitted(access, issuer.sign(issuer.claims(scope="actuals")))[0] == 200
    issuer.keys.append(new_key("second"))
    token = issuer.sign(issuer.claims(scope="actuals"))
    assert admitted(access, token)[0] == 401, "not within a minute"
    monkeypatch.setattr(issuer_keys, "UNKNOWN_SECONDS", 0.0)
    assert admitted(access, token)[0] == 200
    assert issuer.asked == 2
    monkeypatch.setattr(issuer_keys, "UNKNOWN_SECONDS", 60.0)
    for number in range(50):
        assert admitted(access, issuer.sign(issuer.claims(), new_key(f"nobody-{number}", "ES256")))[0] == 401
    assert issuer.asked == 2


def test_requests_that_need_the_same_key_wait_for_one_fetch(issuer: Issuer) -> None:
    access = access_to(issuer)

    async def ask() -> None:
        await asyncio.gather(*(access.ask_issuer() for _ in range(20)))

    asyncio.run(ask())
    assert issuer.asked == 1


def test_a_withdrawn_key_ends_its_tokens(issuer: Issuer) -> None:
    access = access_to(issuer)
    token = issuer.sign(issuer.claims(scope="actuals"))
    assert admitted(access, token)[0] == 200
    issuer.keys = [new_key("second")]
    assert admitted(access, token)[0] == 200, "until the keys are fetched anew"
    asyncio.run(access._tokens.keys.fetch())  # type: ignore[union-attr]
    assert admitted(access, token)[0] == 401


def test_a_known_token_ends_when_it_says(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    access = access_to(issuer, jwt_leeway_seconds=5.0)
    end = int(time.time()) + 60
    token = issuer.sign(issuer.claims(scope="actuals", exp=end))
    assert admitted(access, token)[0] == 200
    monkeypatch.setattr(time, "time", lambda: end + 4.0)
    assert admitted(access, token)[0] == 200
    monkeypatch.setattr(time, "time", lambda: end + 5.0)
    assert admitted(access, token)[2].startswith("the JWT expired at 20")


@pytest.mark.parametrize(
    ("claims", "client"),
    [
        ({"azp": "app", "client_id": "api", "sub": "person"}, "jwt:app"),
        ({"client_id": "api", "sub": "person"}, "jwt:api"),
        ({"sub": "auth0|5f7c8ec7"}, "jwt:auth0|5f7c8ec7"),
        ({"sub": "spiffe://example.org/ns/x"}, "jwt:spiffe://example.org/ns/x"),
        ({"sub": "x" * 59}, "jwt:" + "x" * 59),
        # By its digest: what is too long, what no log line can hold well, and what would pass for another.
        *[({"sub": odd}, by_digest(odd)) for odd in ("x" * 60, "two\nlines", "ä", "other", by_digest("other")[4:])],
    ],
)
def test_a_client_is_called_as_its_token_says(issuer: Issuer, claims: dict[str, Any], client: str) -> None:
    name = admitted(access_to(issuer), issuer.sign(issuer.claims(scope="actuals", **claims)))[1]
    assert name == client
    assert len(name) <= 63


@pytest.mark.parametrize(
    ("claims", "mapped", "may"),
    [
        ({"scope": "predict actuals"}, (), True),
        ({"scp": ["predict", "actuals", 7, None]}, (), True),
        ({"scp": "actuals"}, (), True),
        ({"scope": "actuals2 actual"}, (), False),
        ({"scope": 7, "scp": {"actuals": 1}}, (), False),
        ({"scope": "actuals"}, (("beacon.write", "actuals"),), False),
        ({"scope": "api://x/beacon.write"}, (("api://x/beacon.write", "actuals"),), True),
        ({}, (), False),
    ],
)
def test_scopes_are_read_from_either_claim(
    issuer: Issuer, claims: dict[str, Any], mapped: tuple[tuple[str, str], ...], may: bool
) -> None:
    access = access_to(issuer, jwt_scopes=mapped)
    assert admitted(access, issuer.sign(issuer.claims(**claims)))[0] == (200 if may else 403)


def test_each_client_with_a_token_has_the_quota(issuer: Issuer) -> None:
    access = access_to(issuer, jwt_quota=Quota(requests_per_day=2))
    tokens = [issuer.sign(issuer.claims(scope="actuals", sub=name, n=n)) for name in ("a", "b") for n in range(3)]
    statuses = [admitted(access, token)[0] for token in tokens]
    assert statuses == [200, 200, 429] * 2, "of the client, and not of the token"


def test_metrics_have_so_many_clients_at_most() -> None:
    labels = ClientLabels()
    names = [labels.of(f"jwt:{number}") for number in range(MOST_LABELS + 50)]
    assert len(set(names)) == MOST_LABELS + 1
    assert (names[-1], labels.of("jwt:0"), labels.of("shop")) == ("jwt:other", "jwt:0", "shop")


def entry_of(key: Any, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (key.public() | changes).items() if value is not None}


def test_only_public_keys_of_the_three_algorithms_are_kept() -> None:
    rsa_key, curve = new_key("rsa"), new_key("curve", "ES256")
    short = {"kty": "RSA", "kid": "short", "e": "AQAB", "n": base64.urlsafe_b64encode(b"\xf1" * 128).decode()}
    others = [
        entry_of(rsa_key, kid="enc", use="enc"),
        entry_of(rsa_key, kid="rs512", alg="RS512"),
        entry_of(rsa_key, kid=7),
        {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
        short,
        {"kty": "EC", "kid": "bad", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA", "kid": "empty"},
        {"kid": "nothing"},
        "text",
    ]
    kept = read_key_set(json.dumps({"keys": [entry_of(rsa_key, alg=None), curve.public(), *others]}).encode())
    assert {name: key.algorithm for name, key in kept.items()} == {"rsa": "RS256", "curve": "ES256"}
    for wrong in (b"", b"[]", b"{}", b'{"keys": 7}', b'{"keys": []}', b"\xff", b"[" * 100_000):
        with pytest.raises(KeySetError):
            read_key_set(wrong)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("JWKS_URL", "ftp://x", "is not an address"),
        ("SCOPES", "beacon.read", "must be THEIRS=OURS"),
        ("SCOPES", "beacon.read=read", "is none of predict"),
        ("QUOTA", "rows=1", "must be one of requests_per_second"),
        ("QUOTA", "rows_per_day=0", "rows_per_day must be a whole number from 1"),
        ("QUOTA", "rows_per_second=nan", "rows_per_second must be a number from"),
        ("LEEWAY_SECONDS", "-1", "must be 0 to 600"),
        ("LEEWAY_SECONDS", "nan", "must be 0 to 600"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_rule(name: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"BEACON_JWT_{name}: .*{words}"):
        load_settings({f"BEACON_JWT_{name}": text})


def test_an_issuer_needs_all_three_settings() -> None:
    with pytest.raises(ConfigurationError, match="BEACON_JWT_AUDIENCE, BEACON_JWT_JWKS_URL: must be set"):
        check_api_keys(Settings(jwt_issuer="https://issuer.example"))


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[Issuer, AccessControl]]:
    with Issuer() as issuer:
        yield issuer, access_to(issuer, closed_scopes=("predict",))


TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=300)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
HEADERS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("typ", "crit", "b64", "jwk", "x5c", "cty"), VALUES)
) | st.dictionaries(st.text(max_size=5), VALUES, max_size=3)
CLAIMS = ("iss", "aud", "exp", "nbf", "iat", "sub", "azp", "client_id", "scope", "scp", "jti")


@fuzzing(FEW, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_header_and_no_token_is_a_fault_of_the_service(fuzzed: tuple[Issuer, AccessControl], data: Any) -> None:
    issuer, access = fuzzed
    makers: dict[str, Callable[[], str]] = {
        "text": lambda: data.draw(TEXT),
        "parts": lambda: ".".join(data.draw(st.lists(TEXT, min_size=3, max_size=3))),
        "header": lambda: f"{part_of(data.draw(HEADERS | VALUES))}.{part_of(data.draw(VALUES))}.{data.draw(TEXT)}",
        "signed": lambda: issuer.sign(
            issuer.claims() | data.draw(st.dictionaries(st.sampled_from(CLAIMS), VALUES, max_size=4))
        ),
    }
    token = makers[data.draw(st.sampled_from(list(makers)))]()
    request = request_with(token)
    request.headers[b"authorization"] = data.draw(st.sampled_from(("Bearer ", "bearer  ", "Bearer", ""))).encode() + (
        token.encode("latin-1", "replace")
    )
    try:
        access.check(request, "predict")
    except BeaconError as error:
        msgspec.json.encode(error.body("r"))
        if error.status not in {401, 403}:
            raise
    msgspec.json.encode(request.log_fields())


def part_of(facts: Any) -> str:
    try:
        return part(facts)
    except (ValueError, UnicodeEncodeError):
        return part(repr(facts))
