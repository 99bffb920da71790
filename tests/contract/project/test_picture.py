"""The README's picture of the system is the one of its table, and shows every service."""

import re
from itertools import combinations
from xml.etree import ElementTree

from beacon_core.platform.settings import ROOT
from tools.picture import ARROWS, BOXES, PICTURE, picture


def test_the_file_is_that_of_the_table() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "run `make picture`"
    ElementTree.fromstring(picture())


def test_every_service_has_its_box() -> None:
    match = re.search(r"^SERVICES := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert match
    assert {box.name for box in BOXES if box.kind == "service"} == set(match[1].split())


def test_boxes_have_places_of_their_own_and_each_is_reached() -> None:
    assert all((one.column, one.row) != (other.column, other.row) for one, other in combinations(BOXES, 2))
    assert {name for arrow in ARROWS for name in (arrow.source, arrow.target)} == {box.name for box in BOXES}
