"""The command `beacon`: `beacon WORD ARGUMENT ...` for every word that an installed package of Beacon brings along.

A package brings a word by an entry point of the group `beacon.commands`, a function that returns the exit status.
"""

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

WORDS = "beacon.commands"


def main() -> int:
    """Do what the first argument names, else list the words; exit status 2 for a word that nobody brings."""
    found = {entry.name: entry for entry in entry_points(group=WORDS)}
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if word in {"-h", "--help"}:
        print(f"usage: beacon WORD [ARGUMENT ...]\n\n{_listed(found)}")
        return 0
    if word not in found:
        print(f"beacon: {word!r} is no word of it\n\n{_listed(found)}", file=sys.stderr)
        return 2
    sys.argv[:2] = [f"beacon {word}"]
    return _program(found[word])()


def _program(entry: EntryPoint) -> Callable[[], int]:
    program: Callable[[], int] = entry.load()
    return program


def _listed(found: dict[str, EntryPoint]) -> str:
    return "\n".join(f"  {name:<12} {entry.module}" for name, entry in sorted(found.items()))
