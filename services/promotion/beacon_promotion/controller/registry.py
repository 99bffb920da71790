"""MLflow's aliases, moved only after the verdict of a promotion; they move later where MLflow is down."""

import msgspec

from beacon_core.model_package.download import CHALLENGER, CHAMPION, PREVIOUS
from beacon_core.platform.mlflow import Mlflow
from beacon_promotion.targets.base.target import Notes

OWED = "aliases"


class Aliases(msgspec.Struct, frozen=True):
    """Which versions of `name` are to have the aliases; a challenger that became champion is none any more."""

    name: str
    champion: str
    previous: str | None


def owe(notes: Notes, aliases: Aliases) -> None:
    """Write down where the aliases have to go; a newer wish replaces an older one."""
    notes.write(OWED, msgspec.json.encode(aliases))


def settle(notes: Notes, address: str) -> Aliases | None:
    """Move the aliases that are owed and say which; None when none are.

    Raises `RegistryUnavailableError`, and they stay owed.
    """
    owed = notes.read(OWED)
    if owed is None:
        return None
    aliases, mlflow = msgspec.json.decode(owed, type=Aliases), Mlflow(address)
    mlflow.move_alias(aliases.name, CHAMPION, aliases.champion)
    mlflow.move_alias(aliases.name, PREVIOUS, aliases.previous)
    challenger = mlflow.version_at(aliases.name, CHALLENGER)
    if challenger is not None and challenger.number == aliases.champion:
        mlflow.move_alias(aliases.name, CHALLENGER, None)
    notes.write(OWED, None)
    return aliases
