"""The dashboards as Grafana gets them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tools.dashboards.__main__ import boards, document


class Shown(NamedTuple):
    """A query of a panel; `place` names dashboard, row and panel."""

    place: str
    expr: str
    legend: str


def documents() -> dict[str, dict[str, Any]]:
    """Every dashboard, by its uid."""
    return {board["uid"]: board for board in map(document, boards())}


def shown(board: dict[str, Any]) -> Iterator[Shown]:
    """Every query of a dashboard."""
    row = ""
    for panel in board["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
            continue
        for target in panel["targets"]:
            yield Shown(f"{board['uid']} / {row} / {panel['title']}", target["expr"], target["legendFormat"])
