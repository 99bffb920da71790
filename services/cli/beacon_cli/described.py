"""The arguments of a checkout's commands, as `python -m tools.cli_page` read them from the parsers (commands.json).

So a wheel alone knows them: for help, and for a shell's completion. The command itself checks them.
"""

import json
from importlib.resources import files
from typing import Any

import rich_click as click

Description = dict[str, Any]


def descriptions() -> dict[str, Description]:
    """Each command's summary, arguments and subcommands."""
    text = (files("beacon_cli") / "commands.json").read_text(encoding="utf-8")
    found: dict[str, Description] = json.loads(text)
    return found


def parameters(description: Description) -> list[click.Parameter]:
    """The arguments as click has them."""
    return [_parameter(one) for one in description["arguments"]]


def _parameter(one: dict[str, Any]) -> click.Parameter:
    kind = click.Choice(one["choices"]) if one["choices"] else click.STRING
    if not one["flags"]:
        return click.RichArgument(
            [one["name"]], metavar=one["metavar"], required=one["required"], type=kind, nargs=-1, help=one["help"]
        )
    return click.RichOption(
        [*one["flags"], one["name"]],
        metavar=one["metavar"],
        is_flag=one["is_flag"],
        required=one["required"],
        multiple=one["is_list"],
        type=None if one["is_flag"] else kind,
        help=one["help"],
    )
