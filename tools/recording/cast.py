"""A recording of a terminal as text, in the format asciicast v2, which `asciinema play` shows."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

COLUMNS, ROWS = 100, 32
LONGEST_REST = 2
"""Seconds of a rest that a player shows, at most."""
OUTPUT, MARK = "o", "m"
TOGETHER_SECONDS = 0.03
"""What follows so soon is one event."""
SEEN_SECONDS = 2
BEGUN = re.compile(r"(?<=.)(?=\r\x1b\[2K)", re.DOTALL)
UP = "\x1b[1A"
REDRAWN = re.compile(r"((?:\r\x1b\[2K)(?:\x1b\[1A\x1b\[2K)*)((?:[^\x1b\r]|\r\n|\x1b\[[0-9;]*m)*)")
"""As rich draws over what it drew: up, line by line, then down again with the new lines."""


class Event(NamedTuple):
    """What came, and when: output of the terminal, or a mark, which begins a scene."""

    seconds: float
    kind: str
    text: str


class Recorder:
    """Notes what a terminal shows, in the form of a stream that it is written to."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = now()
        self.events: list[Event] = []

    @property
    def seconds(self) -> float:
        """Since the recording began."""
        return self._now() - self._began

    def write(self, text: str) -> int:
        """Note output."""
        last = self.events[-1] if self.events else None
        if last and last.kind == OUTPUT and self.seconds - last.seconds < TOGETHER_SECONDS:
            self.events[-1] = last._replace(text=last.text + text)
        else:
            self.events.append(Event(round(self.seconds, 3), OUTPUT, text))
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def mark(self, name: str) -> None:
        """Begin a scene."""
        self.events.append(Event(round(self.seconds, 3), MARK, name))


def thinned(events: Iterable[Event]) -> list[Event]:
    """The events without bars that were drawn over by others of the same height too soon for anybody to see them."""
    kept: list[Event] = []
    for event in (whole._replace(text=part) for whole in events for part in _parts(whole)):
        height = _height(event)
        while (
            height is not None
            and len(kept) > 1
            and _height(kept[-1]) == height
            and event.seconds - kept[-2].seconds < SEEN_SECONDS
        ):
            kept.pop()
        kept.append(event)
    return kept


def _parts(event: Event) -> list[str]:
    """What an event draws, each bar apart."""
    return re.split(BEGUN, event.text) if event.kind == OUTPUT else [event.text]


def _height(event: Event) -> int | None:
    """How many lines an event draws over, which are as many as it draws; None for one that does anything else."""
    match = REDRAWN.fullmatch(event.text) if event.kind == OUTPUT else None
    if match is None or match[1].count(UP) != match[2].count("\n"):
        return None
    return match[1].count(UP)


def written(events: Iterable[Event], title: str) -> str:
    """The recording as lines of JSON."""
    head = {"version": 2, "width": COLUMNS, "height": ROWS, "idle_time_limit": LONGEST_REST, "title": title}
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in (head, *events))


def read(text: str) -> list[Event]:
    """The events of a recording; ValueError where it is none, or of another size of terminal."""
    head, *lines = text.splitlines()
    found = json.loads(head)
    if (found["version"], found["width"], found["height"]) != (2, COLUMNS, ROWS):
        raise ValueError("the recording is of another version or size")
    return [Event(*json.loads(line)) for line in lines]


def scenes(events: Iterable[Event]) -> Iterator[tuple[str, list[Event]]]:
    """The output from each mark to the next, by the mark's name."""
    found: dict[str, list[Event]] = {}
    name = ""
    for event in events:
        if event.kind == MARK:
            name = event.text
        else:
            found.setdefault(name, []).append(event)
    yield from found.items()
