"""API keys: make a new one, or check a file of them. Exit 0 done, 1 refused.

`new` prints the key once, and the entry for the file of API keys (BEACON_API_KEYS_FILE), which holds its digest alone.
`check` lists the names, scopes, expiries and quotas of a file.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from beacon_core.domain import api_keys
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.quotas import Quota
from beacon_core.platform import clock, results
from beacon_core.platform.api_keys_file import read_api_keys
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.settings import Settings

NONE = "never"


class NewKeyResult(msgspec.Struct, frozen=True):
    """A new API key; `keys check` prints `messages`, a line for each key."""

    key: str
    """The key, which is shown only now."""
    entry: dict[str, Any]
    """Its entry in the list `keys` of the file of API keys."""


class KeysError(ConfigurationError):
    """What was asked breaks a rule of API keys."""


def main(settings: Settings) -> int:
    """Make a key, or check a file."""
    parser = CommandParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="make a key")
    new.add_argument("name", help="of the client, which logs and metrics show")
    new.add_argument("--scopes", required=True, help=f"some of {','.join(api_keys.SCOPES)}")
    new.add_argument("--expires", help="a time with its zone, or the beginning (UTC) of a date (default: never)")
    for name in Quota._fields:
        kind = int if name.endswith("day") else float
        new.add_argument(f"--{name.replace('_', '-')}", type=kind, help="a quota (default: none)")
    check = commands.add_parser("check", help="check a file of API keys")
    check.add_argument("file", nargs="?", type=Path, help="default: that of BEACON_API_KEYS_FILE")
    given = parser.parse_args(sys.argv[1:])
    return _new(given) if given.command == "new" else _check(given.file or settings.api_keys_file)


def _new(given: argparse.Namespace) -> int:
    key = api_keys.new_key()
    entry: dict[str, Any] = {
        "name": given.name,
        "sha256": api_keys.digest_of(key.encode()).hex(),
        "scopes": [scope.strip() for scope in given.scopes.split(",") if scope.strip()],
    }
    if given.expires is not None:
        try:
            moment = api_keys.read_expiry(given.expires)
        except ValueError as error:
            raise KeysError(f"--expires: {error}") from error
        if moment <= clock.now():
            raise KeysError(f"--expires: {given.expires} is over")
        entry["expires"] = moment.isoformat().replace("+00:00", "Z")
    entry |= {name: limit for name in Quota._fields if (limit := getattr(given, name)) is not None}
    # The rules are those of the file, in which the entry will lie.
    api_keys.parse_api_keys(Path("beacon keys new"), {"keys": [entry]})
    if results.is_json():
        results.give_secret(NewKeyResult(key, entry))
        return 0
    print("The key, which is shown only now:\n")
    print(f"    {key}\n")
    print("Its entry in the list `keys` of the file of API keys:\n")
    for number, (name, value) in enumerate(entry.items()):
        print(f"  {' ' if number else '-'} {name}: {json.dumps(value)}")
    return 0


def _check(file: Path | None) -> int:
    if file is None:
        raise KeysError("name a file, or set BEACON_API_KEYS_FILE")
    keys = read_api_keys(file)
    now = clock.timestamp()
    for key in keys:
        end = NONE if key.expires is None else f"{datetime.fromtimestamp(key.expires, UTC):%Y-%m-%dT%H:%M:%SZ}"
        over = " (expired)" if key.expires is not None and key.expires <= now else ""
        scopes = ",".join(scope for scope in api_keys.SCOPES if scope in key.scopes)
        results.say(f"{key.name}  {key.digest.hex()[:8]}  {scopes}  expires: {end}{over}{_shown(key.quota)}")
    return 0


def _shown(quota: Quota) -> str:
    return "".join(f"  {name}: {limit:.15g}" for name, limit in quota._asdict().items() if limit is not None)


def run() -> int:
    """Make a named API key, or check a file of them."""
    return run_command("keys", main)
