"""The arguments of a command: one parser for all, with `--json`, whose errors are one sentence."""

import argparse
import sys
from typing import Any, NoReturn

from beacon_core.platform import results

PROGRAM = "beacon "
USAGE = 2
"""The exit status for arguments that make no sense."""


class CommandParser(argparse.ArgumentParser):
    """argparse's parser with the option `--json`, and an error of one line that says where help is."""

    def __init__(self, **given: Any) -> None:
        given["prog"] = given.get("prog") or usage_name()
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter} | given)
        self.add_argument(results.OPTION, action="store_true", help="print the result as one JSON object")

    def error(self, message: str) -> NoReturn:
        """End with one line on stderr."""
        text = message.removeprefix("argument ")
        results.fail(text, USAGE)
        results.finish(USAGE)
        self.exit(USAGE, f"{self.prog}: {text}; `{self.prog} --help` lists its arguments\n")


def usage_name() -> str | None:
    """The name that usage shows for a command which is a subcommand of another program; None for argparse's own."""
    return sys.argv[0] if sys.argv[0].startswith(PROGRAM) else None
