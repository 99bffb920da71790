"""MLflow's aliases, moved only after the verdict of a promotion; owed and moved later where MLflow is down.

`champion` is what serves, `previous` what a rollback goes back to, `challenger` what waits for its promotion.
"""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request

import msgspec

from beacon_core.download import TIMEOUT_SECONDS, RegistryDown
from beacon_promote.target import Notes

OWED = "aliases"
ROUTE = "/api/2.0/mlflow/registered-models/alias"
CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"


class Aliases(msgspec.Struct, frozen=True):
    """Which versions of `name` are to have the aliases; a challenger that became champion is none any more."""

    name: str
    champion: str
    previous: str | None


def owe(notes: Notes, aliases: Aliases) -> None:
    """Write down where the aliases have to go; a newer wish replaces an older one."""
    notes.write(OWED, msgspec.json.encode(aliases))


def settle(notes: Notes, address: str) -> Aliases | None:
    """Move the aliases that are owed and say which; None when none are. Raises `RegistryDown`, and they stay owed."""
    owed = notes.read(OWED)
    if owed is None:
        return None
    aliases = msgspec.json.decode(owed, type=Aliases)
    _move(address, aliases.name, CHAMPION, aliases.champion)
    _move(address, aliases.name, PREVIOUS, aliases.previous)
    if version_at(address, aliases.name, CHALLENGER) == aliases.champion:
        _move(address, aliases.name, CHALLENGER, None)
    notes.write(OWED, None)
    return aliases


def version_at(address: str, name: str, alias: str) -> str | None:
    """The version that an alias names, or None; raises `RegistryDown`."""
    answer = _ask(address, "GET", {"name": name, "alias": alias})
    return None if answer is None else str(answer["model_version"]["version"])


def _move(address: str, name: str, alias: str, version: str | None) -> None:
    if version is None:
        if version_at(address, name, alias) is not None:
            _ask(address, "DELETE", {"name": name, "alias": alias})
        return
    _ask(address, "POST", {"name": name, "alias": alias, "version": version})


def _ask(address: str, method: str, fields: dict[str, str]) -> "dict[str, dict[str, str]] | None":
    """One call; None where MLflow knows no such model, version or alias (it answers with 400 or 404)."""
    url, body = f"{address.rstrip('/')}{ROUTE}", None
    if method == "GET":
        url += f"?{urllib.parse.urlencode(fields)}"
    else:
        body = json.dumps(fields).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the operator's address
            found: dict[str, dict[str, str]] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        with error:
            if 400 <= error.code < 500:
                return None
        raise RegistryDown(f"MLflow at {address} answers with status {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RegistryDown(f"MLflow at {address} does not answer: {error}") from error
