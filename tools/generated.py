"""Parts of documents that tools write: where such a part stands in its page, and its tables."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Part(NamedTuple):
    """The part of a page between two comments, which a tool writes."""

    name: str
    """What it shows."""
    tool: str
    """The module of tools that writes it."""

    @property
    def begin(self) -> str:
        """The comment before it."""
        return f"<!-- {self.name}: written by `python -m tools.{self.tool}` -->"

    def put(self, page: str, content: str) -> str:
        """The page with this content there; ValueError where it has no place for it."""
        end = f"<!-- end of {self.name} -->"
        part = re.compile(rf"{re.escape(self.begin)}\n.*?{re.escape(end)}\n", re.DOTALL)
        if not part.search(page):
            raise ValueError(f"there is no part that begins with {self.begin}")
        return part.sub(lambda _: f"{self.begin}\n{content}{end}\n", page)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *([cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(text: str) -> str:
    """A text as a cell of a table: on one line."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
