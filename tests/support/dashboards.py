"""The dashboards as Grafana gets them, and what a Prometheus answers to their queries."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from support.prometheus import Prometheus

from tools.dashboards.__main__ import boards, document


class Shown(NamedTuple):
    """A query of a panel; `place` names dashboard, row and panel."""

    place: str
    row: str
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
            yield Shown(f"{board['uid']} / {row} / {panel['title']}", row, target["expr"], target["legendFormat"])


def asked(expr: str) -> str:
    """The query as Grafana sends it for all namespaces, over half a minute."""
    return expr.replace("$namespace", ".*").replace("$__rate_interval", "30s")


def faults(prometheus: Prometheus, queries: Iterable[Shown]) -> list[str]:
    """The queries without data, or without a label that names their series."""
    wrong = []
    for place, _, expr, legend in queries:
        found = prometheus.query(asked(expr))
        told = f"{place}: {asked(expr)} -> {found}"
        if not any(math.isfinite(float(each["value"][1])) for each in found):
            wrong.append(f"no data: {told}")
        labels = set(re.findall(r"\{\{(\w+)\}\}", legend))
        if found and not any(labels <= each["metric"].keys() for each in found):
            wrong.append(f"not all of {sorted(labels)}: {told}")
    return wrong
