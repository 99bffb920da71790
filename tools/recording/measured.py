"""The times of the first ten minutes, and their page: docs/reference/first-ten-minutes.md."""

from pathlib import Path

import msgspec

from tools.generated import table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "recordings"
CAST = FOLDER / "first-ten-minutes.cast"
FIGURES = FOLDER / "first-ten-minutes.json"
PAGE = ROOT / "docs" / "reference" / "first-ten-minutes.md"
LIMITS = {"fetched": 300.0, "cached": 180.0}
"""Seconds from `make run` to the first prediction, by where the packages come from."""
LONGEST = 70
HEAD = """# The first ten minutes

`make recording` plays them in a container that has Python, make and git, and nothing else, as a user who is not root.
It types what the README and the tutorials say, on a terminal, and writes this page, its recording and its pictures.
The machine has no curl, so `make run` shows lines for `beacon predict`.

"""
CAPTIONS = {
    "clone": "The clone.",
    "run-at-work": "`make run`, in the midst of its work.",
    "run": "`make run`, when it is ready.",
    "predict": "In another terminal, the two lines that it shows: by entity and by features.",
    "doctor": "`make doctor`, while all is at work.",
    "help": "`beacon --help`.",
    "explain": "`beacon explain` of the first prediction.",
    "retrain-at-work": "`make retrain`, in the midst of its work.",
    "retrain": "`make retrain`, at its end or at that of the ten minutes.",
    "history": "`make history`.",
    "stop": "Ctrl-C in the first terminal.",
    "run-again": "`make run` again, and Ctrl-C.",
}
"""What each picture of the recording shows, in their order."""
PHOTOS = {
    "console": "The console, wide and light.",
    "console-narrow-dark": "The same at 360 pixels, dark.",
    "prediction-dark": "The first prediction's page, dark.",
    "prediction-narrow": "The same at 360 pixels, light.",
}
"""Of the console, taken in between."""


class Times(msgspec.Struct, frozen=True):
    """One start, from the clone on, in seconds since `make run` was typed."""

    packages: str
    ready: float
    first_prediction: float
    load: float
    """The load of the machine when it began."""


class Typed(msgspec.Struct, frozen=True):
    """A command of the recording."""

    command: str
    seconds: float
    status: int


class Measured(msgspec.Struct, frozen=True):
    """All that was measured."""

    date: str
    cores: int
    starts: list[Times]
    typed: list[Typed]


def page(measured: Measured, pictures: list[str]) -> str:
    """The page of these figures and pictures."""
    starts = [_start(one) for one in measured.starts]
    typed = [(f"`{_short(one.command)}`", f"{one.seconds:.1f} s", str(one.status)) for one in measured.typed]
    captions = CAPTIONS | PHOTOS
    shown = [f"{captions[name]}\n\n![{_plain(captions[name])}]({_picture(name)})\n" for name in pictures]
    return (
        HEAD
        + f"## How long it takes\n\nOn {measured.date}, on a machine of {measured.cores} cores, from `make run` on:\n\n"
        + table(("packages", "ready", "first prediction", "limit", "load before"), starts)
        + "\nThe load is that of other work on the machine.\n"
        + "\n## What is typed\n\n"
        + table(("command", "time", "exit status"), typed)
        + "\n`make run` counts until it is ready, and Ctrl-C until it has stopped.\n"
        + "What is still at work when the ten minutes are over is stopped by Ctrl-C, and has the exit status 130.\n"
        + "`asciinema play docs/recordings/first-ten-minutes.cast` shows it in a terminal, with its rests cut short.\n"
        + "\n## What it looks like\n\n"
        + "\n".join(shown)
    )


def _start(one: Times) -> tuple[str, ...]:
    times = (one.ready, one.first_prediction, LIMITS[one.packages])
    return (f"all {one.packages}", *(f"{seconds:.0f} s" for seconds in times), f"{one.load:.1f}")


def _short(command: str) -> str:
    return command if len(command) <= LONGEST else f"{command[:LONGEST]}..."


def _plain(caption: str) -> str:
    return caption.replace("`", "").removesuffix(".")


def _picture(name: str) -> str:
    return f"../recordings/{name}.{'png' if name in PHOTOS else 'svg'}"
