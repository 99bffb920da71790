"""The session of who is logged in: a cookie of Flask's, signed, with an end that no use of it moves."""

from collections.abc import Mapping
from typing import Any

from flask import session

from beacon_console.login.people import EVERYBODY, ROLES, Person, groups_of, person_of
from beacon_core.domain.errors import BeaconError
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings

PERSON, GROUPS, UNTIL = "person", "groups", "until"
EMAIL = "email"


def begin(claims: Mapping[str, Any], settings: Settings) -> None:
    """Begin the session of a person by the claims of their ID token; raises BeaconError `forbidden`."""
    session.clear()
    if settings.oidc_person_claim == EMAIL and claims.get("email_verified") is False:
        raise BeaconError("forbidden", "The issuer did not verify this address of email.")
    given = claims.get(settings.oidc_groups_claim)
    groups = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    # A cookie holds 4 KiB, and people may be in hundreds of groups.
    named = {group for role in ROLES for group in groups_of(role, settings)} - {EVERYBODY}
    kept = [group for group in groups if isinstance(group, str) and group in named]
    name = claims.get(settings.oidc_person_claim)
    person_of(name, kept, settings)
    session[PERSON], session[GROUPS] = name, kept
    session[UNTIL] = clock.timestamp() + settings.console_session_hours * 3600
    session.permanent = True


def person(settings: Settings) -> Person | None:
    """Who is logged in, with the role that their groups have by now; None where nobody is."""
    until = session.get(UNTIL)
    if not isinstance(until, (int, float)) or clock.timestamp() >= until:
        return None
    return person_of(session.get(PERSON), session.get(GROUPS, ()), settings)
