"""Write docs/reference/cli.md, and the arguments that `beacon` knows, from the commands: `python -m tools.cli_page`.

The arguments are read from the parser that each command makes, and the results from the structs that it prints.
"""

import argparse
import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from beacon_cli.exit_statuses import MEANINGS
from beacon_cli.table import COMMANDS, Command
from beacon_core.commands.beacon import GROUP, summary
from beacon_core.observability import logs
from beacon_core.platform.arguments import CommandParser
from tools.field_docstrings import field_docstrings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "cli.md"
KNOWN = ROOT / "services" / "cli" / "beacon_cli" / "commands.json"
PARSERS = {"retrain": "beacon_retraining.commands.retrain:run"}
"""Whose parser it is, where the command hands its arguments on."""
NO_PARSER = {"dvc"}


class _Parsed(BaseException):
    """The parser that a command made, in the moment in which it would read the arguments."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def parser_of(command: Command) -> argparse.ArgumentParser:
    """The parser of a command; where it is a subcommand of another program, that one."""
    entry = next(one for one in entry_points(group=GROUP) if one.name == command.name)
    module, function = (PARSERS.get(command.name) or entry.value).split(":")
    run = getattr(importlib.import_module(module), function)
    with _called(f"beacon {command.name}"):
        try:
            run()
        except _Parsed as found:
            return _inner(found.parser, sys.argv[1:])
    raise ValueError(f"{command.name} reads its arguments by no CommandParser")


@contextmanager
def _called(name: str) -> Iterator[None]:
    def parse_args(parser: argparse.ArgumentParser, *_: Any) -> None:
        raise _Parsed(parser)

    def nothing(*_: Any, **__: Any) -> None:
        """The logs of this process stay as they are."""

    with (
        patch.object(sys, "argv", [name]),
        patch.object(CommandParser, "parse_args", parse_args),
        patch.object(logs, "configure_logging", nothing),
        patch.object(logs, "configure_job_logging", nothing),
    ):
        yield


def _inner(parser: argparse.ArgumentParser, given: list[str]) -> argparse.ArgumentParser:
    """The parser of the subcommand that the entry point itself put before the arguments."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and given and given[0] in action.choices:
            inner: argparse.ArgumentParser = action.choices[given[0]]
            return inner
    return parser


def described(parser: argparse.ArgumentParser, text: str) -> dict[str, Any]:
    """A parser as commands.json has it."""
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    return {
        "summary": text,
        "help": _help(parser, text),
        "arguments": [_argument(parser, action) for action in actions],
    }


def _help(parser: argparse.ArgumentParser, text: str) -> str:
    return (parser.description or f"{text}.").strip()


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> dict[str, Any]:
    is_command = isinstance(action, argparse._SubParsersAction)
    flags = list(action.option_strings)
    is_flag = bool(flags) and action.nargs == 0
    shown = action.metavar if isinstance(action.metavar, str) else action.dest.upper().replace("_", "-")
    help_text = (action.help or "") % {"default": action.default, "prog": parser.prog}
    if isinstance(action, argparse._SubParsersAction):
        shown_parts = action._get_subactions()
        help_text = "; ".join(f"{one.dest}: {(one.help or '').rstrip('.')}" for one in shown_parts)
    return {
        "name": action.dest if action.dest != argparse.SUPPRESS else "command",
        "flags": flags,
        "metavar": None if is_flag else "COMMAND ..." if is_command else shown,
        "choices": list(map(str, action.choices)) if action.choices else [],
        "is_flag": is_flag,
        "is_list": action.nargs in {"*", "+"} or isinstance(action, argparse._AppendAction),
        "is_command": is_command,
        "required": action.required,
        "help": help_text,
    }


def known() -> dict[str, Any]:
    """What commands.json should hold."""
    summaries = {entry.name: summary(entry) for entry in entry_points(group=GROUP)}
    found: dict[str, Any] = {}
    for command in COMMANDS:
        if not command.environment:
            continue
        parser = CommandParser(add_help=False) if command.name in NO_PARSER else parser_of(command)
        found[command.name] = described(parser, summaries[command.name])
    return found


def result_rows(command: Command) -> list[str]:
    """The fields of the JSON object that a command prints, as rows of a table."""
    module, name = command.result.split(":")
    found = getattr(importlib.import_module(module), name)
    if isinstance(found, str):
        return []
    source = Path(str(sys.modules[found.__module__].__file__)).read_text(encoding="utf-8")
    body = next(n.body for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == found.__name__)
    texts = field_docstrings(body)
    return [
        f"| `{field.encode_name}` | {_type(field.type)} | {texts.get(field.name) or ''} |\n"
        for field in msgspec.structs.fields(found)
    ]


def _type(kind: Any) -> str:
    """A type as JSON has it."""
    text = re.sub(
        r"\b(?:[a-z_]\w*\.)+", "", str(getattr(kind, "__name__", kind) if not hasattr(kind, "__args__") else kind)
    )
    names = {
        "str": "text",
        "int": "number",
        "float": "number",
        "bool": "true or false",
        "datetime": "time",
        "None": "null",
        "NoneType": "null",
    }
    for name, shown in names.items():
        text = re.sub(rf"\b{name}\b", shown, text)
    literal = re.fullmatch(r"Literal\[(.*)\]", text)
    if literal:
        text = literal[1].replace("'", "").replace(", ", " or ")
    text = re.sub(r"\bdict\[[^\]]*\]", "object", text)
    text = re.sub(r"\b(?:list|tuple)\[(\w+)(?:, \.\.\.)?\]", r"list of \1", text)
    return text.replace(" | ", " or ")


def page(found: dict[str, Any]) -> str:
    """The page."""
    parts = [HEAD]
    parts.append("| exit status | meaning |\n| --- | --- |\n")
    parts += [f"| {status} | {text} |\n" for status, text in MEANINGS.items()]
    for group in dict.fromkeys(command.group for command in COMMANDS):
        parts.append(f"\n## {group}\n")
        for command in COMMANDS:
            if command.group == group:
                parts.append(_section(command, found.get(command.name) or _client(command.name)))
    return "".join(parts)


def _client(name: str) -> dict[str, Any]:
    """A client's arguments, which are click's own."""
    from beacon_cli.app import CLIENTS  # noqa: PLC0415 - the others need no click

    command = CLIENTS[name]
    arguments = []
    for one in command.params:
        flags = [text for text in one.opts if text.startswith("-")]
        arguments.append(
            {"flags": flags, "metavar": None if getattr(one, "is_flag", False) else one.metavar, "help": one.help or ""}
            | {"required": one.required, "choices": []}
        )
    text = str(command.help).replace("\b", "")
    return {"summary": str(command.short_help), "help": text, "arguments": arguments}


def _section(command: Command, description: dict[str, Any]) -> str:
    lines = [f"\n### beacon {command.name}\n\n", *(f"{line}\n" for line in _sentences(description["help"]))]
    arguments = [one for one in description["arguments"] if "--json" not in one["flags"]]
    if arguments:
        lines.append("\n| argument | meaning |\n| --- | --- |\n")
        lines += [_row(one) for one in arguments]
    if not command.result:
        return "".join(lines)
    rows = result_rows(command)
    if rows:
        lines.append("\n`--json` prints:\n\n| key | value | meaning |\n| --- | --- | --- |\n")
        lines += rows
    else:
        module, name = command.result.split(":")
        lines.append(f"\n`--json` prints {getattr(importlib.import_module(module), name)}.\n")
    return "".join(lines)


def _sentences(text: str) -> list[str]:
    """One sentence a line; a list of exit statuses is in the table above."""
    text = re.sub(r"\s*Exit 0[^\n]*(?:\n[^\n]+)*", "", text.replace("\r", ""))
    found = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        plain = " ".join(paragraph.split())
        found += [*re.split(r"(?<=[.!?]) (?=[A-Z`])", plain), ""]
    return found[:-1]


def _row(one: dict[str, Any]) -> str:
    metavar = one["metavar"] or ""
    shown = " ".join(filter(None, [", ".join(one["flags"]), metavar]))
    must = "" if not one["required"] or not one["flags"] else " (must be given)"
    choices = f": {', '.join(one['choices'])}" if one["choices"] and metavar != "COMMAND ..." else ""
    text = f"{one['help']}{choices}{must}".replace("|", "\\|")
    return f"| `{shown}` | {text} |\n"


HEAD = """\
# The command line

<!-- written by `python -m tools.cli_page` -->

`beacon` is one program for all that people do.
`beacon --help` lists its commands, and `beacon COMMAND --help` shows the arguments of one.
`make run` and its like call it.

`beacon predict` and `beacon explain` are clients: they need a running server and nothing else.
All other commands need a checkout of Beacon: the one around the working folder, or `--project FOLDER`.
They run in the environment of the checkout that has what they need, and build it first where it is missing.
`--product FOLDER` names another product than that of `feature_repo`, with a state of its own.

In a checkout it is `.venvs/laptop/bin/beacon`, which `make run` builds.
To call it by its name:

    export PATH="$PATH:$PWD/.venvs/laptop/bin"

To install it for everywhere, by uv, which is in `.tools/bin` where the machine had none:

    uv build --package beacon-cli --out-dir dist
    uv tool install dist/beacon_cli-0.1.0-py3-none-any.whl

`eval "$(beacon completion bash)"` completes commands and options; zsh and fish can do so, too.

With `--json` a command prints one JSON object on stdout, of the shape that is shown below.
Everything else goes to stderr.
One that fails prints `{"error": TEXT, "exit_status": NUMBER}`, unless its own shape says more.
Colours and bars are for terminals; `NO_COLOR=1` leaves the colours out.

"""


def written() -> dict[Path, str]:
    """Both files as they should be."""
    found = known()
    return {KNOWN: json.dumps(found, indent=1, ensure_ascii=False) + "\n", PAGE: page(found)}


if __name__ == "__main__":
    for file, content in written().items():
        file.write_text(content, encoding="utf-8")
