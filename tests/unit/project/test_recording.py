"""`make recording`: what it notes of a real terminal and draws of that, and that what it wrote is as it would be."""

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tools.recording import cast, measured, record
from tools.recording.measured import CAPTIONS, CAST, FIGURES, FOLDER, LIMITS, PAGE, PHOTOS, Measured
from tools.recording.pictures import AT_WORK, pictures
from tools.recording.terminal import VARIABLES, Terminal

BARS = r"for i in 1 2 3; do printf '\r\e[2K\e[32mtrials ━━━ %s\e[0m' $i; sleep 0.2; done; printf '\r\e[2Kdone\n'"
PROGRESS = """
import time
from rich.progress import Progress
with Progress(transient=True, refresh_per_second=20) as bars:
    first = bars.add_task("stage", total=30)
    for number in range(30):
        if number == 8:
            second = bars.add_task("trial", total=22)
        if number == 15:
            bars.console.print("second line")
        bars.advance(first)
        if number >= 8:
            bars.advance(second)
        time.sleep(0.12)
"""


@pytest.fixture
def recorder() -> cast.Recorder:
    return cast.Recorder()


@pytest.fixture
def terminal(recorder: cast.Recorder, tmp_path: Path) -> Iterator[Terminal]:
    variables = [
        f"{name}={value}" for name, value in {**VARIABLES, "PATH": os.environ["PATH"], "HOME": tmp_path}.items()
    ]
    bash = str(shutil.which("bash"))
    recorder.mark("one")
    made = Terminal(["env", "-i", *variables, bash, "--norc", "--noprofile", "-i"], recorder)
    yield made
    made.close()


def text_of(picture: str) -> str:
    """What a picture shows, without its forms."""
    lines = re.findall(r"<text [^>]*>([^<]*)</text>", picture)
    return "\n".join(lines).replace("&#160;", " ")


def test_commands_have_their_time_output_and_exit_status(terminal: Terminal) -> None:
    step = terminal.do("sleep 0.3; echo a b; (exit 3)", 20)
    assert step.status == 3
    assert "\ra b\r\n" in step.output
    assert 0.3 <= step.seconds < 10
    assert terminal.do("true", 20, is_pasted=True).status == 0


def test_what_does_not_end_in_time_is_interrupted(terminal: Terminal) -> None:
    began = time.monotonic()
    assert terminal.do("sleep 100", 2).status == 130
    assert time.monotonic() - began < 80
    with pytest.raises(TimeoutError, match=r"'never' did not come within 0\.1 s"):
        terminal.expect(re.compile("never"), 0.1)


def test_the_recording_is_read_as_it_was_written(terminal: Terminal, recorder: cast.Recorder) -> None:
    terminal.do("echo 'é ━'", 20)
    recorder.mark("two")
    terminal.clear()
    terminal.do("echo second", 20, is_pasted=True)
    events = cast.read(cast.written(recorder.events, "a title"))
    assert events == recorder.events
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)
    of_scenes = {name: "".join(event.text for event in output) for name, output in cast.scenes(events)}
    assert list(of_scenes) == ["one", "two"]
    assert "é ━" in of_scenes["one"]
    assert "second" in of_scenes["two"]
    with pytest.raises(ValueError, match="another version or size"):
        cast.read(cast.written([], "").replace('"version": 2', '"version": 3'))


def test_a_person_types_key_by_key_and_pastes_at_once(terminal: Terminal, recorder: cast.Recorder) -> None:
    before = len(recorder.events)
    terminal.do("echo abc", 20, is_pasted=True)
    pasted = len(recorder.events) - before
    terminal.do("echo abc", 20)
    assert len(recorder.events) - before - pasted > pasted


def test_scenes_are_drawn_at_their_end_and_with_a_bar_in_their_midst(
    terminal: Terminal, recorder: cast.Recorder
) -> None:
    terminal.do(BARS, 20, is_pasted=True)
    recorder.mark("two")
    terminal.clear()
    terminal.do(r"printf '\e[1;38;5;208mcolour\e[0m & <b>\n'", 20)
    found = pictures(recorder.events)
    assert list(found) == [f"one{AT_WORK}", "one", "two"]
    assert "trials ━━━ 2" in text_of(found[f"one{AT_WORK}"])
    assert "done" in text_of(found["one"])
    assert "trials ━━━ 3" not in text_of(found["one"])
    assert "#ff8700" in found["two"]
    assert "colour" in text_of(found["two"])
    assert "&lt;b&gt;" in text_of(found["two"])
    assert all("url(" not in re.sub(r"url\(#[\w-]+\)", "", picture) for picture in found.values()), "nothing is fetched"


def test_bars_that_nobody_sees_are_left_out_and_the_end_is_the_same(
    terminal: Terminal, recorder: cast.Recorder, tmp_path: Path
) -> None:
    program = tmp_path / "bars.py"
    program.write_text(PROGRESS)
    assert terminal.do(f"{sys.executable} {program}", 60, is_pasted=True).status == 0
    fewer = cast.thinned(recorder.events)
    assert len(fewer) < 0.7 * len(recorder.events)
    before, after = pictures(recorder.events), pictures(fewer)
    assert before["one"] == after["one"]
    assert "second line" in text_of(after["one"])
    assert "trial" in text_of(after[f"one{AT_WORK}"])
    # Of another height, or with anything else: kept.
    other = [
        cast.Event(0, "o", "x"),
        cast.Event(0.1, "o", "\r\x1b[2Ka"),
        cast.Event(0.2, "o", "\r\x1b[2K\x1b[1A\x1b[2Ka\r\nb"),
    ]
    assert cast.thinned(other) == other
    assert len(cast.thinned([*other[:2], other[1]._replace(seconds=0.3)])) == 2


def test_a_picture_is_the_same_each_time(terminal: Terminal, recorder: cast.Recorder) -> None:
    terminal.do("echo once", 20)
    assert pictures(recorder.events) == pictures(recorder.events)


# What is in docs/recordings


@pytest.fixture(scope="module")
def figures() -> Measured:
    return msgspec.json.decode(FIGURES.read_bytes(), type=Measured)


def test_page_and_pictures_are_those_of_the_recording(figures: Measured, tmp_path: Path) -> None:
    names = record.draw(tmp_path)
    again = "run `make recording ARGS=--draw`"
    drawn = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.svg")} == drawn, again
    assert PAGE.read_text(encoding="utf-8") == measured.page(figures, names), again
    assert set(names) <= {*CAPTIONS, *PHOTOS}
    assert sorted(file.stem for file in FOLDER.glob("*.png")) == sorted(PHOTOS)


def test_the_first_prediction_came_in_time(figures: Measured) -> None:
    assert {one.packages for one in figures.starts} == set(LIMITS)
    for one in figures.starts:
        assert one.ready < one.first_prediction <= LIMITS[one.packages], one


def test_what_was_typed_went_well(figures: Measured) -> None:
    typed = [step.command for step in figures.typed]
    assert {"git clone /srv/beacon.git", "make run", "make doctor", "beacon --help", "make retrain"} <= set(typed)
    # Ctrl-C of `make run` ends make, too, which says so by its status; and so does the end of the ten minutes.
    good = {"Ctrl-C": {0, 2, 130}, "make retrain": {0, 130}}
    assert [step for step in figures.typed if step.status not in good.get(step.command, {0})] == []


def test_the_recording_names_no_place_but_its_own_machine() -> None:
    text = CAST.read_text(encoding="utf-8")
    hosts = set(re.findall(r"[a-z]+://([^/:\s\"\\]+)", text))
    assert hosts == {"127.0.0.1"}
    assert CAST.stat().st_size < 400_000
