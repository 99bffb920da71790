"""Why training code is refused."""

from beacon_core.platform.training_code import KEY
from beacon_retraining.errors import RetrainError


class EntryPointError(RetrainError):
    """The entry point's code breaks a rule; the message names the key, the function and the rule."""


def refusal(function: str, reason: str) -> EntryPointError:
    """The error of an entry point."""
    return EntryPointError(f"{KEY}: {function}: {reason}")
