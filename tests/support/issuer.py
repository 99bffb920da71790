"""An issuer of tokens: an OpenID provider on Authlib's server side, with real keys, over real HTTP.

Who is logged in at it is `user`; there is no page to log in at. It asks every client for PKCE and takes a code once.
`client_credentials` gives JWTs (RFC 9068), and `sign` makes any token at all, for those that it would never make.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import flask
import httpx
import jwt
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from authlib.oidc.core import OpenIDCode
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.jwk import KeySet, import_key
from support.ports import free_port
from werkzeug.serving import make_server

SECRET = "a secret of a client"
LIFETIME = 3600
ALGORITHMS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


read_key: Any = import_key  # its types know no keys of cryptography, which it takes


class Key(NamedTuple):
    """A private key, and how it is named."""

    name: str
    algorithm: str
    private: Any

    def public(self) -> dict[str, Any]:
        """Its entry of the JWKS."""
        facts: dict[str, Any] = read_key(self.private.public_key(), self.kind).as_dict(private=False)
        return facts | {"kid": self.name, "use": "sig", "alg": self.algorithm}

    @property
    def kind(self) -> str:
        """Its kind, as JWKs have it."""
        return {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}[self.algorithm]


def new_key(name: str, algorithm: str = "RS256") -> Key:
    """Make a key."""
    return Key(name, algorithm, ALGORITHMS[algorithm]())


class Client:
    """A client that may do whatever its secret is for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_client_id(self) -> str:
        return self.name

    def get_default_redirect_uri(self) -> None:
        return None

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, _: str) -> bool:
        return True

    def check_client_secret(self, secret: str) -> bool:
        return secret == SECRET

    def check_endpoint_auth_method(self, method: str, _: str) -> bool:
        return method in {"client_secret_basic", "client_secret_post"}

    def check_grant_type(self, _: str) -> bool:
        return True

    def check_response_type(self, kind: str) -> bool:
        return kind == "code"


class Code:
    """What an authorization code stands for."""

    def __init__(self, request: Any) -> None:
        data = request.payload.data
        self.client, self.user, self.scope = request.client, request.user, request.payload.scope
        self.redirect_uri, self.nonce = request.payload.redirect_uri, data.get("nonce")
        self.code_challenge = data.get("code_challenge")
        self.code_challenge_method = data.get("code_challenge_method")
        self.value = ""

    def get_redirect_uri(self) -> str:
        return str(self.redirect_uri)

    def get_scope(self) -> str:
        return str(self.scope)

    def get_nonce(self) -> str | None:
        return None if self.nonce is None else str(self.nonce)

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class Issuer:
    """The provider, running between `with` and its end; `asked` counts how often its keys were fetched."""

    def __init__(self) -> None:
        self.keys = [new_key("first")]
        self.user: dict[str, Any] = {"sub": "1815", "email": "ada@example.com", "groups": ["data"]}
        self.audience = "beacon"
        self.change: Callable[[dict[str, Any]], dict[str, Any]] = dict
        """What becomes of the claims of an ID token."""
        self.sign_as: Callable[[dict[str, Any]], str] = self.sign
        self.asked = 0
        self._codes: dict[str, Code] = {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server = make_server("127.0.0.1", self.port, self._app(), threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def jwks_url(self) -> str:
        """Where its keys are."""
        return f"{self.url}/jwks"

    def sign(self, claims: dict[str, Any], key: Key | None = None, **header: Any) -> str:
        """A token with these claims, signed by the newest key, or by another one."""
        by = key or self.keys[-1]
        header = {"kid": by.name} | header
        return jwt.api_jws.PyJWS().encode(json.dumps(claims).encode(), by.private, by.algorithm, header)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims of a good token, but for the changes; None leaves a claim out."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": self.audience, "sub": "shop", "iat": now, "exp": now + LIFETIME}
        return {name: value for name, value in (usual | changes).items() if value is not None}

    def client_credentials(self, client: str, scope: str) -> str:
        """The JWT that a client gets for its secret."""
        form = {"grant_type": "client_credentials", "scope": scope}
        answer = httpx.post(f"{self.url}/token", data=form, auth=(client, SECRET))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def _app(self) -> flask.Flask:
        app = flask.Flask("issuer")
        server = AuthorizationServer(app, query_client=Client, save_token=lambda *_: None)
        server.register_grant(_code_grant(self), [_open_id(self), CodeChallenge(required=True)])
        server.register_grant(grants.ClientCredentialsGrant)
        server.register_token_generator("client_credentials", _token_generator(self))

        @app.get("/.well-known/openid-configuration")
        def configuration() -> Any:
            paths = {name: f"{self.url}/{path}" for name, path in ENDPOINTS.items()}
            algorithms = [key.algorithm for key in self.keys]
            return {"issuer": self.url, "id_token_signing_alg_values_supported": algorithms, **paths}

        @app.get("/jwks")
        def jwks() -> Any:
            self.asked += 1
            return {"keys": [key.public() for key in self.keys]}

        @app.get("/authorize")
        def authorize() -> Any:
            return server.create_authorization_response(grant_user=self.user, grant=server.get_consent_grant(self.user))

        @app.post("/token")
        def token() -> Any:
            return server.create_token_response()

        return app


ENDPOINTS = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"} | {
    "end_session_endpoint": "logout"
}


def _code_grant(issuer: Issuer) -> type:
    class Grant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

        def save_authorization_code(self, code: str, request: Any) -> None:
            kept = issuer._codes[code] = Code(request)
            kept.value = code

        def query_authorization_code(self, code: str, client: Client) -> Code | None:
            found = issuer._codes.get(code)
            return found if found is not None and found.client.name == client.name else None

        def delete_authorization_code(self, code: Code) -> None:
            issuer._codes.pop(code.value, None)

        def authenticate_user(self, code: Code) -> Any:
            return code.user

    return Grant


def _open_id(issuer: Issuer) -> OpenIDCode:
    class OpenID(OpenIDCode):  # type: ignore[misc]
        def exists_nonce(self, *_: Any) -> bool:
            return False

        def encode_id_token(self, token: dict[str, Any], request: Any) -> str:
            client = request.client.name
            code = request.authorization_code
            claims = issuer.claims(aud=client, **code.user) | self.get_authorization_code_claims(code)
            return issuer.sign_as(issuer.change(claims))

    return OpenID(require_nonce=True)


def _token_generator(issuer: Issuer) -> JWTBearerTokenGenerator:
    class Generator(JWTBearerTokenGenerator):  # type: ignore[misc]
        def get_jwks(self) -> KeySet:
            private = [read_key(key.private, key.kind, {"kid": key.name}) for key in issuer.keys]
            return KeySet(private)

        def get_audiences(self, *_: Any) -> str:
            return issuer.audience

    return Generator(issuer=issuer.url)
