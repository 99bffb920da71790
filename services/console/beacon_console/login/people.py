"""The person of a request, and what their groups let them do."""

from collections.abc import Collection
from typing import Literal, NamedTuple

from flask import g

from beacon_core.data.approvals import LENGTHS
from beacon_core.domain.errors import BeaconError
from beacon_core.platform.settings import Settings

Role = Literal["viewer", "approver", "operator"]
ROLES: tuple[Role, ...] = ("viewer", "approver", "operator")
"""Each may do what those before it may: a viewer reads, an approver decides on models, an operator starts things."""
EVERYBODY = "*"


class Person(NamedTuple):
    """Who is logged in: the name that decisions are kept under, and the highest role."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether they have at least this role."""
        return ROLES.index(self.role) >= ROLES.index(role)


def groups_of(role: Role, settings: Settings) -> tuple[str, ...]:
    """The groups whose members have a role."""
    by_role = {
        "viewer": settings.console_viewers,
        "approver": settings.console_approvers,
        "operator": settings.console_operators,
    }
    return by_role[role]


def person_of(name: object, groups: Collection[str], settings: Settings) -> Person:
    """The person of that name; BeaconError `forbidden` where no group gives a role, or the name cannot be kept."""
    most = LENGTHS["person"]
    if not isinstance(name, str) or not name.strip() or len(name) > most or not name.isprintable():
        rule = f"The login gave no name that can be kept: it must be 1 to {most} characters on one line."
        raise BeaconError("forbidden", rule)
    for role in reversed(ROLES):
        named = groups_of(role, settings)
        if EVERYBODY in named or not set(named).isdisjoint(groups):
            return Person(name.strip(), role)
    raise BeaconError("forbidden", f"{name} is logged in, and none of their groups has a role in this console.")


def current_person() -> Person | None:
    """Who is logged in; None where the console has no login."""
    found: Person | None = g.get("person")
    return found


def require_role(role: Role) -> Person | None:
    """The person, who has the role; BeaconError `forbidden` without it. None where the console has no login."""
    person = current_person()
    if person is not None and not person.may(role):
        raise BeaconError("forbidden", f"This takes the role {role}, and {person.name} is {person.role}.")
    return person
