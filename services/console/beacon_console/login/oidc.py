"""The login at an OpenID provider: authorization code with PKCE, state and nonce, by Authlib."""

from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, render_template, request, session
from joserfc.errors import JoseError

from beacon_console.login import sessions
from beacon_core.domain.errors import BeaconError
from beacon_core.platform.settings import Settings
from beacon_core.web.flask_app import root

CALLBACK = "/login/callback"
ALGORITHMS = ("RS256", "ES256", "EdDSA")
WAIT_SECONDS = 10.0
NEXT = "next"
PENDING = "_state_oidc_"
"""What Authlib's keys of logins that are under way begin with."""


def add_oidc(app: Flask, settings: Settings) -> None:
    """Add the routes that log in and out."""
    provider = OAuth(app).register(
        "oidc",
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        server_metadata_url=f"{settings.oidc_issuer}/.well-known/openid-configuration",
        client_kwargs={
            "scope": settings.oidc_scopes,
            "code_challenge_method": "S256",
            "default_timeout": WAIT_SECONDS,
        },
    )

    @app.get("/login")
    def login() -> Any:
        _check_provider(provider, settings)
        for key in [key for key in session if key.startswith(PENDING)]:  # one at a time: a cookie holds 4 KiB
            del session[key]
        answer = provider.authorize_redirect(settings.oidc_redirect_url)
        session[NEXT] = local_path(request.args.get(NEXT, ""))
        return answer

    @app.get(CALLBACK)
    def callback() -> Any:
        _check_provider(provider, settings)
        try:
            found = provider.authorize_access_token().get("userinfo")
        except requests.RequestException as error:
            _unavailable(error)
        except (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError) as error:
            raise _failed() from error
        if not found:
            raise _failed()
        target = session.get(NEXT, "/")
        sessions.begin(dict(found), settings)
        return redirect(f"{root()}{target}", 303)

    @app.post("/logout")
    def logout() -> Any:
        session.clear()
        return render_template("logged_out.html", elsewhere=_end_session(provider))


def local_path(text: str) -> str:
    """The path of a page of ours; the front page for anything else, such as another site's address."""
    parts = urlsplit(text) if text.isprintable() and "\\" not in text else None
    is_ours = parts is not None and not parts.scheme and not parts.netloc and text.startswith("/")
    return text if is_ours and not text.startswith("//") else "/"


def _check_provider(provider: Any, settings: Settings) -> None:
    """Raise BeaconError `issuer_unavailable` unless the provider says who it is; its tokens have few algorithms."""
    try:
        facts = provider.load_server_metadata()
    except (requests.RequestException, ValueError) as error:
        _unavailable(error)
    if facts.get("issuer", "").rstrip("/") != settings.oidc_issuer:
        raise BeaconError("issuer_unavailable", "The login is set up wrongly: the issuer calls itself otherwise.")
    offered = facts.get("id_token_signing_alg_values_supported") or ALGORITHMS
    facts["id_token_signing_alg_values_supported"] = [name for name in offered if name in ALGORITHMS]


def _end_session(provider: Any) -> str:
    """Where one logs out at the provider; empty where it does not say."""
    url = str(provider.server_metadata.get("end_session_endpoint", ""))
    return url if urlsplit(url).scheme in {"http", "https"} else ""


def _failed() -> BeaconError:
    return BeaconError("unauthorized", "The login failed, or took too long. Nobody is logged in. Log in again.")


def _unavailable(error: Exception) -> NoReturn:
    raise BeaconError("issuer_unavailable", "The login's issuer does not answer. Try again.") from error
