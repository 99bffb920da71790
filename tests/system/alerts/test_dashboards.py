"""The dashboards show what alerts link to, name only metrics that there are, and are built whole."""

import json
import re
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from support.dashboards import documents, shown
from support.products import SPEC

from beacon_core.observability import metrics
from beacon_core.observability.metrics import STAGES, Metric
from beacon_core.platform.product_file import load_product
from tests.system.alerts.promtool import alerts, rules_of
from tools.dashboards.__main__ import document, write
from tools.dashboards.panels import ANNOTATIONS
from tools.dashboards.queries import FOREIGN, scoped
from tools.dashboards.serving import TOPIC_ROW

UNSEEN: dict[str, str] = {}
"""Metrics that neither a rule nor a dashboard reads, and why."""


def exprs(board: dict[str, Any]) -> list[str]:
    return [query.expr for query in shown(board)]


def named(expr: str) -> set[str]:
    """The metrics that a query reads, by the names that the code gives them."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|(by|ignoring|on|group_left|group_right) \([^)]*\)', " ", expr)
    found = set(re.findall(r"(?<![:\w])[a-zA-Z_]\w*(?![:\w])", bare))
    parts = {f"{metric.name}_{part}": metric.name for metric in metrics.ALL for part in ("bucket", "sum", "count")}
    return {parts.get(name, name) for name in found if "_" in name or name in FOREIGN} - FUNCTIONS


FUNCTIONS = {"histogram_quantile", "max_over_time", "count_over_time", "avg_over_time", "last_over_time"}


def test_what_is_built_is_every_dashboard_and_nothing_older(tmp_path: Path) -> None:
    folder = tmp_path / "dashboards"
    for _ in range(2):
        write(folder)
        assert {file.name: json.loads(file.read_text()) for file in folder.iterdir()} == {
            f"{uid}.json": board for uid, board in documents().items()
        }
        (folder / "gone.json").write_text("{}")
    assert len(documents()) == 7


def test_alerts_link_to_dashboards_that_show_what_they_read() -> None:
    read_by = {uid: set().union(*map(named, exprs(board))) for uid, board in documents().items()}
    recorded = {rule["record"]: rule["expr"] for rule in rules_of() if "record" in rule}
    linked = set()
    for rule in alerts():
        uid = rule["annotations"]["dashboard_url"].removeprefix("https://beacon.example/d/")
        assert uid in read_by, rule["alert"]
        linked.add(uid)
        expr = rule["expr"]
        for _ in range(3):
            expr = re.sub(r"beacon:\w+:\w+", lambda match: f"({recorded[match[0]]})", expr)
        read = named(expr) - {"beacon_threshold"}
        own = {name for name in read if name.startswith(("beacon_", "http_", "api_", "model_", "probe_"))}
        assert not own or own & read_by[uid], f"{rule['alert']}: {uid} shows none of {sorted(own)}"
    assert linked == set(read_by), "a dashboard that no alert links to"


def test_every_metric_that_is_read_exists_and_every_other_has_its_reason() -> None:
    queries = [expr for board in documents().values() for expr in exprs(board)]
    queries += [expr for _, _, expr, _ in ANNOTATIONS]
    exist = {metric.name for metric in metrics.ALL}
    read = set().union(*map(named, queries))
    assert read - exist - set(FOREIGN) == set()
    by_rules = set().union(*(named(rule["expr"]) for rule in rules_of()))
    assert exist - read - by_rules == set(UNSEEN)
    assert len(read) > 40


def test_labels_are_those_of_their_metrics() -> None:
    table: dict[str, Metric] = {metric.name: metric for metric in metrics.ALL}
    for uid, board in documents().items():
        for expr in exprs(board):
            for name, inside in re.findall(r"(\w+?)(?:_bucket|_sum|_count)?\{([^}]*)\}", expr):
                labels = set(re.findall(r"(\w+) *(?:=|!)", re.sub(r'"[^"]*"', '""', inside))) - {"le", "__name__"}
                if name in table:
                    assert labels <= {*table[name].labels, "namespace"}, f"{uid}: {expr}"


def test_every_selector_is_of_the_chosen_namespaces() -> None:
    for board in documents().values():
        for expr in exprs(board):
            read = [name for name in named(expr) if not name.startswith("beacon:")]
            assert expr.count('{namespace=~"$namespace"') >= len(read), expr
    assert scoped('sum(up) by (job) / x:up:y{a="up"}') == 'sum(up{namespace=~"$namespace"}) by (job) / x:up:y{a="up"}'


def test_the_dashboards_are_of_the_product() -> None:
    product = load_product(SPEC)
    rows = {
        uid: [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
        for uid, board in documents().items()
    }
    assert [title.partition(":")[0] for title in rows["beacon-drift"][3:]] == list(product.key_features)
    assert rows["beacon-requests"][1:] == [*STAGES, "Clients", TOPIC_ROW]
    of_target = re.compile(r"Predicted values|(Root )?[Mm]ean (absolute|squared) error|Estimated error|Mean residual")
    titles = [panel["title"] for board in documents().values() for panel in board["panels"]]
    found = [title for title in titles if of_target.match(title)]
    assert len(found) >= 7
    assert [title for title in found if f"({product.target.unit})" not in title] == []


def test_panels_have_places_and_numbers_of_their_own() -> None:
    for board in documents().values():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken
            assert place["x"] + place["w"] <= 24
            taken |= cells
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)
        assert len({panel["title"] for panel in board["panels"] if panel["type"] == "row"}) > 2


def test_grafanas_own_types_know_all_that_is_in_them() -> None:
    register_default_plugins()
    for board in documents().values():
        assert document(Dashboard.from_json(board)) == board
