"""Who sends a form that changes something, and whether they may.

Where the console has a login, that says who it is, and a form's hidden token keeps out other sites' forms. Where it has
none, every form carries the shared token, typed by the person: no other site can send it.
"""

from flask import Flask, request

from beacon_console.forms import check_form
from beacon_console.login.attempts import Attempts
from beacon_console.login.people import Role, current_person, require_role
from beacon_console.login.proxies import client_address
from beacon_core.domain.errors import BeaconError
from beacon_core.platform.settings import Settings
from beacon_core.web.flask_app import current_request


class Acting:
    """The check before each change; it counts the wrong tokens of all forms together."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._settings = settings
        self._attempts = Attempts()
        app.jinja_env.globals["may"] = self.may

    def may(self, role: Role) -> bool:
        """Whether the reader of a page is to see the form: their role allows it, or there is a shared token."""
        person = current_person()
        return bool(self._settings.console_token) if person is None else person.may(role)

    def person(self, role: Role) -> str:
        """The name of the form's sender, who has the role; without a login the name that they gave.

        Raises `BeaconError`: unauthorized, forbidden, too_many_attempts, unsupported_media_type, and not_found where
        forms are switched off.
        """
        check_form()
        person = require_role(role)
        if person is not None:
            return person.name
        if not self._settings.console_token:
            raise BeaconError("not_found", "Forms are switched off here: BEACON_CONSOLE_TOKEN is not set.")
        address = client_address(current_request(), self._settings)
        self._attempts.judge(address, request.form.get("token", ""), self._settings.console_token)
        return request.form.get("person", "")
