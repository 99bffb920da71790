"""Pictures of a recording as SVG: what a terminal shows at the end of each scene, and in the midst of one with bars."""

import io
import itertools
import re
from collections.abc import Iterable

import pyte
from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tools.recording.cast import COLUMNS, Event, scenes

TALL = 400
"""Rows of a terminal on which nothing is scrolled away."""
BAR = "\u2501"
AT_WORK = "-at-work"
NAMES = {"brown": "yellow", "brightbrown": "bright_yellow", "bfightmagenta": "bright_magenta"}
"""Colours whose names are not those of rich."""
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def pictures(events: Iterable[Event]) -> dict[str, str]:
    """The last screen of each scene, by its name; of a scene with bars also the middle one of those that have a bar."""
    found = {}
    for name, output in scenes(events):
        screen = pyte.Screen(COLUMNS, TALL)
        stream = pyte.Stream(screen)
        with_bars = [number for number, event in enumerate(output) if BAR in event.text]
        for number, event in enumerate(output):
            stream.feed(event.text)
            if with_bars and number == with_bars[len(with_bars) // 2]:
                found[f"{name}{AT_WORK}"] = drawn(shown_on(screen), name)
        found[name] = drawn(shown_on(screen), name)
    return found


def shown_on(screen: pyte.Screen) -> Text:
    """The screen's text with its colours, without the empty rows below and above it."""
    rows = [_row(screen, number) for number in range(TALL)]
    used = [number for number, row in enumerate(rows) if row.plain.strip()]
    return Text("\n").join(rows[used[0] : used[-1] + 1]) if used else Text()


def _row(screen: pyte.Screen, number: int) -> Text:
    row = Text(end="")
    characters = [screen.buffer[number][column] for column in range(COLUMNS)]
    for style, alike in itertools.groupby(characters, _style):
        row.append("".join(character.data for character in alike), style)
    row.rstrip()
    return row


def _style(character: Char) -> Style:
    return Style(
        color=_colour(character.fg),
        bgcolor=_colour(character.bg),
        bold=character.bold or None,
        italic=character.italics or None,
        underline=character.underscore or None,
        reverse=character.reverse or None,
    )


def _colour(name: str) -> str | None:
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return NAMES.get(name, re.sub(r"^bright(?=[a-z])", "bright_", name))


def drawn(text: Text, name: str) -> str:
    """The text in the frame of a terminal. It names no font that a browser would fetch."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(text, soft_wrap=True)
    picture = console.export_svg(title=name.replace("-", " "), unique_id=f"scene-{name}")
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    picture = re.sub(r"font-family: [^;]+;", f"font-family: {FONTS};", picture)
    return "".join(f"{line.rstrip()}\n" for line in picture.splitlines())
