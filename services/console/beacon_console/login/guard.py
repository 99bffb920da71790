"""The guard before every page: who nobody logged in sees none, where the console has a login."""

import logging
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Flask, g, redirect, request
from flask_wtf.csrf import CSRFProtect

from beacon_console.login import proxies, sessions
from beacon_console.login.oidc import CALLBACK, add_oidc
from beacon_console.login.people import ROLES, current_person, groups_of, person_of
from beacon_core.domain.addresses import is_loopback
from beacon_core.domain.errors import BeaconError, ConfigurationError
from beacon_core.platform.settings import Settings
from beacon_core.web.flask_app import current_request, root

log = logging.getLogger(__name__)

OPEN = frozenset({"livez", "readyz", "static_file", "login", "callback"})
"""Endpoints that nobody has to be logged in for."""
LEAST_KEY_CHARACTERS = 32
NEEDED = {
    "oidc": ("oidc_issuer", "oidc_client_id", "oidc_client_secret", "oidc_redirect_url"),
    "proxy": ("proxy_networks",),
}


def add_login(app: Flask, settings: Settings) -> None:
    """Put every page behind the login that the settings name; nothing where they name none."""
    app.jinja_env.globals |= {"person": current_person, "csrf_token": lambda: ""}
    if settings.console_login == "off":
        log.warning("the console has no login: whoever reaches it sees everything (BEACON_CONSOLE_LOGIN)")
        return
    check_login(settings)
    address = settings.oidc_redirect_url
    app.secret_key = settings.console_session_key
    app.config |= {
        "SESSION_COOKIE_NAME": "beacon_console",
        "SESSION_COOKIE_PATH": settings.path_prefix or "/",
        "SESSION_COOKIE_HTTPONLY": True,
        # A proxy that logs people in ends TLS; on this machine alone there may be none.
        "SESSION_COOKIE_SECURE": settings.console_login == "proxy" or urlsplit(address).scheme == "https",
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_REFRESH_EACH_REQUEST": False,
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=settings.console_session_hours),
        "WTF_CSRF_TIME_LIMIT": None,
        "WTF_CSRF_SSL_STRICT": False,
    }

    @app.before_request
    def identify() -> Any:
        if request.endpoint in OPEN:
            return None
        if settings.console_login == "proxy":
            g.person = person_of(*proxies.logged_in(current_request(), settings), settings)
            return None
        g.person = sessions.person(settings)
        if g.person is not None:
            return None
        if request.method not in {"GET", "HEAD"}:
            raise BeaconError("unauthorized", "Nobody is logged in, or no longer. Nothing was done. Log in again.")
        return redirect(f"{root()}/login?{urlencode({'next': request.full_path.rstrip('?')})}", 303)

    CSRFProtect(app)
    if settings.console_login == "oidc":
        add_oidc(app, settings)


def check_login(settings: Settings) -> None:
    """Raise ConfigurationError where the settings of the login break a rule."""
    for name in NEEDED[settings.console_login]:
        if not getattr(settings, name):
            way = settings.console_login
            raise ConfigurationError(f"BEACON_{name.upper()}: must be set for BEACON_CONSOLE_LOGIN={way}")
    if len(settings.console_session_key) < LEAST_KEY_CHARACTERS:
        raise ConfigurationError(f"BEACON_CONSOLE_SESSION_KEY: must be {LEAST_KEY_CHARACTERS} or more characters")
    if not any(groups_of(role, settings) for role in ROLES):
        raise ConfigurationError("BEACON_CONSOLE_VIEWERS: name the groups that may see the console, or * for everybody")
    if settings.console_login == "oidc":
        _check_address("BEACON_OIDC_ISSUER", settings.oidc_issuer)
        _check_address("BEACON_OIDC_REDIRECT_URL", settings.oidc_redirect_url)
        if not urlsplit(settings.oidc_redirect_url).path.endswith(CALLBACK):
            raise ConfigurationError(f"BEACON_OIDC_REDIRECT_URL: must end in {CALLBACK}")


def _check_address(name: str, url: str) -> None:
    if urlsplit(url).scheme != "https" and not is_loopback(url):
        raise ConfigurationError(f"{name}: must begin with https, but for an address of this machine itself")
