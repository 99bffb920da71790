"""Record the first ten minutes on a bare machine into docs/recordings, and write their page: `make recording`.

`--draw` only draws the pictures and writes the page anew, from the recording that is there.
"""

import argparse
import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from bare.machine import Machine, machine
from playwright.sync_api import Browser, ViewportSize
from support.ports import free_ports

from beacon_core.platform.settings import PREFIX, Settings
from beacon_laptop.ports import PORTS, port_problem
from tools.recording import cast, measured, play
from tools.recording.measured import CAPTIONS, CAST, FIGURES, FOLDER, LIMITS, PAGE, PHOTOS, Measured, Times, Typed
from tools.recording.pictures import pictures
from tools.screenshots import chromium

WIDE, NARROW = ViewportSize(width=1120, height=700), ViewportSize(width=360, height=700)


def ports() -> dict[str, str]:
    """The usual ports, else free ones, as variables; the container has this machine's network."""
    usual = Settings()
    if all(port_problem(usual.host, getattr(usual, name)) is None for name in PORTS):
        return {}
    return {f"{PREFIX}{name.upper()}": str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}


def photograph(browser: Browser, console: str, prediction: str) -> None:
    """Take the pictures of the console."""
    page_of = f"{console}/predictions/{prediction}"
    for name, address, size, scheme in (
        ("console", console, WIDE, "light"),
        ("console-narrow-dark", console, NARROW, "dark"),
        ("prediction-dark", page_of, WIDE, "dark"),
        ("prediction-narrow", page_of, NARROW, "light"),
    ):
        page = browser.new_context(viewport=size, color_scheme=scheme).new_page()  # type: ignore[arg-type]
        page.goto(address)
        page.screenshot(path=FOLDER / f"{name}.png")
        page.context.close()


@contextlib.contextmanager
def player(bare: Machine, recorder: cast.Recorder, variables: dict[str, str]) -> Iterator[play.Player]:
    """A person at the machine, whose terminals are closed afterwards."""
    made = play.Player(bare, recorder, variables)
    try:
        yield made
    finally:
        made.close()


def record(browser: Browser) -> Measured:
    """Play the ten minutes with nothing cached, record them, and measure the start again with all packages cached."""
    variables = ports()
    console = f"http://127.0.0.1:{variables.get(f'{PREFIX}CONSOLE_PORT', Settings().console_port)}"
    starts = []
    with machine() as bare:
        bare.clone(play.USER, play.ORIGIN, "--bare")
        load = os.getloadavg()[0]
        recorder = cast.Recorder()
        with player(bare, recorder, variables) as one:
            played = play.play(one, recorder, lambda prediction: photograph(browser, console, prediction))
            text = cast.written(cast.thinned(recorder.events), "The first ten minutes of Beacon")
            CAST.write_text(text, encoding="utf-8")
        starts.append(Times("fetched", played.ready, played.first_prediction, load))
        bare.run(play.USER, "rm -rf beacon", 600)
        load, again = os.getloadavg()[0], cast.Recorder()
        with player(bare, again, variables) as one:
            short = play.play(one, again, None)
        starts.append(Times("cached", short.ready, short.first_prediction, load))
    typed = [Typed(step.command, round(step.seconds, 1), step.status) for step in played.steps]
    return Measured(f"{datetime.now(UTC):%Y-%m-%d}", os.cpu_count() or 1, starts, typed)


def draw(folder: Path = FOLDER) -> list[str]:
    """Draw the recording's pictures; the names of all pictures that the page shows."""
    found = pictures(cast.read(CAST.read_text(encoding="utf-8")))
    found = {name: found[name] for name in CAPTIONS if name in found}
    for name, picture in found.items():
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
    return [*found, *PHOTOS]


def main() -> int:
    """Record, draw and write; 1 where a prediction took longer than its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", action="store_true", help="draw the recording that is there")
    given = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    if not given.draw:
        with chromium() as browser:
            FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(record(browser)), indent=2) + b"\n")
    figures = msgspec.json.decode(FIGURES.read_bytes(), type=Measured)
    PAGE.write_text(measured.page(figures, draw()), encoding="utf-8")
    late = [one for one in figures.starts if one.first_prediction > LIMITS[one.packages]]
    for one in figures.starts:
        limit = LIMITS[one.packages]
        print(f"packages {one.packages}: first prediction after {one.first_prediction:.0f} s (limit {limit:.0f} s)")
    return 1 if late else 0
