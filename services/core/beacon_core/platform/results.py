"""What a command answers: lines for a person, or with `--json` one JSON object on stdout.

A command that succeeds prints its result, a struct that docs/reference/cli.md documents; one that fails prints a
`CommandFailure`, unless it has a result that says more (as `check` has).
"""

import sys

import msgspec

from beacon_core.domain.masking import mask, mask_all

OPTION = "--json"


class CommandFailure(msgspec.Struct, frozen=True):
    """Why a command has no result."""

    error: str
    """One sentence: what is wrong, and what to do."""
    exit_status: int
    """As docs/reference/cli.md lists them."""


class Done(msgspec.Struct, frozen=True):
    """What a command without figures of its own did."""

    messages: list[str]
    """What a person would have read, line by line."""


class _Answer:
    """What this process has answered so far."""

    def __init__(self) -> None:
        self.result: msgspec.Struct | None = None
        self.failure: CommandFailure | None = None
        self.lines: list[str] = []
        self.is_printed = False


_answer = _Answer()


def is_json() -> bool:
    """Whether the command was asked for JSON."""
    return OPTION in sys.argv[1:]


def say(text: str) -> None:
    """Print a line for a person; with `--json` it is kept for `Done`."""
    text = mask(text)
    if is_json():
        _answer.lines.append(text)
    else:
        print(text, flush=True)  # noqa: T201 - a command talks to a person


def note(text: str) -> None:
    """Keep a line that was logged, for `Done`."""
    _answer.lines.append(text)


def give(result: msgspec.Struct) -> None:
    """Set the result, which `finish` prints with `--json`."""
    _answer.result = result


def print_now(result: msgspec.Struct) -> None:
    """Print the result of a command that goes on after it."""
    _answer.is_printed = True
    sys.stdout.write(msgspec.json.encode(mask_all(msgspec.to_builtins(result))).decode() + "\n")
    sys.stdout.flush()


def give_secret(result: msgspec.Struct) -> None:
    """Print a result that holds what else is masked, as a new key that is shown once; the command's only one."""
    _answer.result = None
    _answer.is_printed = True
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


def fail(error: str, exit_status: int) -> None:
    """Set why there is no result."""
    _answer.failure = CommandFailure(mask(error), exit_status)


def finish(status: int) -> None:
    """Print the JSON object, if it was asked for; forgets everything."""
    global _answer
    answer, _answer = _answer, _Answer()
    if not is_json() or answer.is_printed:
        return
    failure = answer.failure
    if failure is None and status:
        failure = CommandFailure((answer.lines or [f"ended with status {status}"])[-1], status)
    shown = answer.result or failure or Done(answer.lines)
    sys.stdout.write(msgspec.json.encode(mask_all(msgspec.to_builtins(shown))).decode() + "\n")
    sys.stdout.flush()
