"""Approve or reject a challenger. Exit 0 decided, now or before, 1 refused, 75 try again later."""

import getpass
import sys

import msgspec

from beacon_core.data.approvals import APPROVED, REJECTED, decide
from beacon_core.data.database import migrate, open_store
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser, usage_name
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings


class DecisionResult(msgspec.Struct, frozen=True):
    """What was decided on a challenger."""

    product: str
    """The product's name."""
    version: str
    """The challenger."""
    decision: str
    """approved or rejected."""
    person: str
    """Who decided."""
    is_new: bool
    """False where it was decided so before."""


DECISIONS = {"approve": APPROVED, "reject": REJECTED}


def main(settings: Settings) -> int:
    """Decide once."""
    parser = CommandParser(description=__doc__)
    commands = parser.add_subparsers(dest="decision", required=True)
    for name in DECISIONS:
        command = commands.add_parser(name, prog=usage_name(), help=f"{name} a challenger")
        command.add_argument("version", help="of the challenger")
        command.add_argument("--reason", default="", help="for the record")
        command.add_argument("--person", default=getpass.getuser(), help="default: who is logged in")
    given = parser.parse_args()
    product = load_product(settings.product)
    decision = DECISIONS[given.decision]
    engine = open_store(settings.database)
    migrate(engine)
    with engine.begin() as connection:
        people = product.policy.approvals.people
        new = decide(connection, product.name, given.version, decision, given.person, given.reason, people=people)
    results.give(DecisionResult(product.name, given.version, decision, given.person, new))
    results.say(
        f"{product.name} version {given.version} is {decision} by {given.person}" if new else f"was {decision} before"
    )
    return 0


def run() -> int:
    """Run as a process of its own."""
    name = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] in DECISIONS else "approve"
    return run_command(name, main)
