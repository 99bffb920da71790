"""The commands of one environment: `python -m beacon_core.commands.beacon COMMAND ARGUMENT ...` runs one of them.

A package adds a command by an entry point of the group `beacon.commands`: a function that returns the exit status.
The first sentence of its docstring is its summary. The program `beacon` (services/cli) knows which environment has
which command, and runs this module there.
"""

import ast
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from beacon_core.platform.arguments import PROGRAM

GROUP = "beacon.commands"


def main() -> int:
    """Run the command that the first argument names, else list them all; exit status 2 for an unknown one."""
    commands = {entry.name: entry for entry in entry_points(group=GROUP)}
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in {"-h", "--help"}:
        print(f"usage: beacon COMMAND [ARGUMENT ...]\n\n{_listed(commands)}")
        return 0
    if name not in commands:
        print(f"beacon: {name!r} is not a command\n\n{_listed(commands)}", file=sys.stderr)
        return 2
    sys.argv[:2] = [PROGRAM + name]
    try:
        program: Callable[[], int] = commands[name].load()
    except ModuleNotFoundError as error:
        print(f"beacon {name}: needs {error.name}, which this environment has not", file=sys.stderr)
        return 1
    return program()


def summary(entry: EntryPoint) -> str:
    """The first sentence of a command's docstring, from its source: importing them all would take seconds."""
    spec = find_spec(entry.module)
    if spec is None or spec.origin is None:
        return ""
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    function = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entry.attr), None)
    text = ast.get_docstring(function) if function else None
    return (text or "").partition("\n")[0].partition(". ")[0].rstrip(".")


def _listed(commands: dict[str, EntryPoint]) -> str:
    width = max(map(len, commands), default=0)
    return "\n".join(f"  {name:<{width}}  {summary(entry)}".rstrip() for name, entry in sorted(commands.items()))


if __name__ == "__main__":
    sys.exit(main())
