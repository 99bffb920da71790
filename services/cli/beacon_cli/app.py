"""The program `beacon`: its commands, help and completion."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import rich_click as click
from click.shell_completion import get_completion_class
from rich_click.utils import CommandGroupDict

from beacon_cli import client, described, explain, predict, runner
from beacon_cli.errors import CliError
from beacon_cli.exit_statuses import INTERRUPTED, REFUSED, USAGE
from beacon_cli.table import CARE, COMMANDS, Command
from beacon_cli.terminal import console_of

OWN_OPTIONS = ("--project", "--product")
"""Options that every command of a checkout takes, wherever they stand."""
SHELLS = ("bash", "zsh", "fish")


class CheckoutCommand(click.RichCommand):
    """A command that an environment of the checkout runs: its arguments go there as they are."""

    def __init__(self, command: Command, description: described.Description) -> None:
        self.command = command
        super().__init__(
            name=command.name,
            params=[*described.parameters(description), *_own_options()],
            help=description["help"],
            short_help=description["summary"],
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look for help and the options of the front; completion looks at all."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        if {"--help", "-h"} & set(args) and not self._has_subcommand(args):
            click.echo(ctx.get_help())
            ctx.exit()
        rest, ctx.meta["own"] = taken(args)
        ctx.args = rest
        return rest

    def _has_subcommand(self, args: Sequence[str]) -> bool:
        """Whether help is asked of a subcommand, which the command itself knows."""
        known = described.descriptions()[self.command.name]["arguments"]
        return any(one["is_command"] and args[0] in one["choices"] for one in known)

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Run it and end with its status."""
        own = {name: Path(text) if text else None for name, text in ctx.meta["own"].items()}
        ctx.exit(runner.run(self.command, ctx.args, own["--project"], own["--product"]))


def taken(args: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The arguments without the front's own options, and those."""
    rest: list[str] = []
    own = dict.fromkeys(OWN_OPTIONS, "")
    given = iter(args)
    for text in given:
        name, sign, value = text.partition("=")
        if name not in own:
            rest.append(text)
            continue
        own[name] = value if sign else next(given, "")
        if not own[name]:
            raise CliError(f"{name} needs a value", USAGE)
    return rest, own


def _own_options() -> list[click.Parameter]:
    path = click.Path(path_type=Path)
    return [
        click.RichOption(
            ["--product"],
            type=path,
            metavar="FOLDER",
            help="another product than feature_repo's, with a state of its own",
        ),
        click.RichOption(
            ["--project"],
            type=path,
            metavar="FOLDER",
            help="the checkout of Beacon (default: the one around this folder)",
        ),
    ]


def _asked(answer: Callable[[], Any], lines: Callable[[Any], list[str]], *, as_json: bool) -> None:
    found = answer()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    console = console_of(sys.stdout)
    for line in lines(found):
        console.print(line, markup=False)


def _row_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments of both clients."""
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="print the result as one JSON object"),
        click.option("--url", metavar="URL", help="of inference (default: BEACON_INFERENCE_URL, else the laptop's)"),
        click.option(
            "--file", metavar="FILE", help="JSON: a row, or a list of rows (-: standard input, which is the default)"
        ),
        click.option(
            "--entity",
            metavar="KEY=VALUE",
            multiple=True,
            help="whose other features come from the feature store; once for each column of its key",
        ),
        click.argument("features", nargs=-1, metavar="NAME=VALUE", help="of a feature"),
    ):
        function = decorate(function)
    return function


@click.command("predict", short_help="Request predictions from a running server")
@_row_arguments
def predict_command(
    features: tuple[str, ...], entity: tuple[str, ...], file: str | None, url: str | None, as_json: bool
) -> None:
    """Request predictions from a running server.

    The row is NAME=VALUE pairs, an entity, or both. Without them, FILE holds JSON: one row, or a list of rows. A row is
    {"features": {...}, "entity": {...}}, or an object of features alone.
    """
    _asked(lambda: predict.predict(client.address(url), features, entity, file), predict.lines, as_json=as_json)


@click.command("explain", short_help="Say what each feature adds to a prediction")
@click.option("--id", "prediction_id", metavar="ID", help="of a logged prediction, which its own model explains")
@_row_arguments
def explain_command(
    prediction_id: str | None,
    features: tuple[str, ...],
    entity: tuple[str, ...],
    file: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Say what each feature adds to a prediction: of a row as `predict` takes it, or of a logged prediction."""
    _asked(
        lambda: explain.explain(client.address(url), prediction_id, features, entity, file),
        explain.lines,
        as_json=as_json,
    )


@click.command("completion", short_help="Print the completion for a shell")
@click.argument("shell", type=click.Choice(SHELLS))
def completion_command(shell: str) -> None:
    """Print the completion for a shell: `eval "$(beacon completion bash)"`."""
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - it is one of `SHELLS`
    click.echo(found(application(), {}, "beacon", "_BEACON_COMPLETE").source())


CLIENTS = {"predict": predict_command, "explain": explain_command}


def application() -> click.RichGroup:
    """The group of all commands."""
    group = click.RichGroup(
        name="beacon",
        help="One tabular regression product in production: run it, ask it, watch it, change its model.",
        epilog="Exit status: 0 done, 1 refused, 2 arguments, 65 bad data, 75 try again: docs/reference/cli.md",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    group = click.version_option(package_name="beacon-cli", message="beacon %(version)s")(group)
    known = described.descriptions()
    for command in COMMANDS:
        own = CLIENTS.get(command.name)
        group.add_command(own or CheckoutCommand(command, known[command.name]))
    group.add_command(completion_command)
    return group


def _groups() -> list[CommandGroupDict]:
    names = {command.name: command.group for command in COMMANDS} | {completion_command.name or "": CARE}
    groups = dict.fromkeys(names.values())
    return [{"name": name, "commands": [one for one, own in names.items() if own == name]} for name in groups]


def main() -> NoReturn:
    """Run the command of the command line; every error is one sentence."""
    click.rich_click.COMMAND_GROUPS = {"beacon": _groups()}
    click.rich_click.MAX_WIDTH = 120
    arguments = sys.argv[1:]
    known = next((text for text in arguments if not text.startswith("-")), "")
    name = f"beacon {known}" if known in {command.name for command in COMMANDS} else "beacon"
    as_json = "--json" in arguments
    try:
        status = application().main(args=arguments, prog_name="beacon", standalone_mode=False)
    except CliError as error:
        status = runner.report(name, str(error), error.exit_status, as_json=as_json)
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        status = runner.report(
            name, f"{message[:1].lower()}{message[1:]}; `{name} --help` helps", USAGE, as_json=as_json
        )
    except (KeyboardInterrupt, click.Abort):
        status = INTERRUPTED
    except BrokenPipeError:  # `beacon history | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = REFUSED
    sys.exit(status if isinstance(status, int) else 0)
