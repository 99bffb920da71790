"""MLflow's aliases, moved only after the verdict of a promotion; while MLflow is down they wait in an outbox."""

import msgspec

from beacon_core.model_package.download import CHALLENGER, CHAMPION, PREVIOUS
from beacon_core.platform.mlflow import Mlflow
from beacon_promotion.targets.base.target import StateStore

OUTBOX = "aliases"


class Aliases(msgspec.Struct, frozen=True):
    """Which versions of `name` get the aliases; a challenger that became champion loses its own."""

    name: str
    champion: str
    previous: str | None


def enqueue(state: StateStore, aliases: Aliases) -> None:
    """Put the aliases into the outbox; newer ones replace older ones."""
    state.write(OUTBOX, msgspec.json.encode(aliases))


def reconcile(state: StateStore, address: str) -> Aliases | None:
    """Move the aliases of the outbox and return them; None when it is empty.

    Raises `RegistryUnavailableError`, and they stay in the outbox.
    """
    content = state.read(OUTBOX)
    if content is None:
        return None
    aliases, mlflow = msgspec.json.decode(content, type=Aliases), Mlflow(address)
    mlflow.move_alias(aliases.name, CHAMPION, aliases.champion)
    mlflow.move_alias(aliases.name, PREVIOUS, aliases.previous)
    challenger = mlflow.version_at(aliases.name, CHALLENGER)
    if challenger is not None and challenger.number == aliases.champion:
        mlflow.move_alias(aliases.name, CHALLENGER, None)
    state.write(OUTBOX, None)
    return aliases
