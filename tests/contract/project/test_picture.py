"""The pictures are those of their tables, and the README's shows every service."""

import re
from itertools import combinations
from xml.etree import ElementTree

import pytest

from beacon_core.platform.settings import ROOT
from tools.picture import IMAGES, PICTURES, drawn


@pytest.mark.parametrize("name", PICTURES)
def test_the_file_is_that_of_the_table(name: str) -> None:
    assert (IMAGES / name).read_text(encoding="utf-8") == drawn(PICTURES[name]), "run `make picture`"
    ElementTree.fromstring(drawn(PICTURES[name]))


def test_every_service_has_its_box() -> None:
    match = re.search(r"^SERVICES := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert match
    assert {box.name for box in PICTURES["system.svg"].boxes if box.kind == "service"} == set(match[1].split())


@pytest.mark.parametrize("name", PICTURES)
def test_boxes_have_places_of_their_own_and_each_is_reached(name: str) -> None:
    boxes, arrows = PICTURES[name].boxes, PICTURES[name].arrows
    assert all((one.column, one.row) != (other.column, other.row) for one, other in combinations(boxes, 2))
    assert {end for arrow in arrows for end in (arrow.source, arrow.target)} == {box.name for box in boxes}
