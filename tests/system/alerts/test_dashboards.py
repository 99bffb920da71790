"""The dashboards' files are those of the tables, show what alerts link to, and name only metrics that there are."""

import json
import re

from beacon_core.observability import metrics
from beacon_core.observability.metrics import STAGES, Metric
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tests.system.alerts.promtool import alerts, rules_of
from tools.dashboards.__main__ import FOLDER, boards, texts
from tools.dashboards.grafana import ANNOTATIONS, FOREIGN, Dashboard, scoped

UNSEEN: dict[str, str] = {}
"""Metrics that neither a rule nor a dashboard reads, and why."""


def exprs(board: Dashboard) -> list[str]:
    return [query.expr for row in board.rows for panel in row.panels for query in panel.queries]


def named(expr: str) -> set[str]:
    """The metrics that a query reads, by the names that the code gives them."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|(by|ignoring|on|group_left|group_right) \([^)]*\)', " ", expr)
    found = set(re.findall(r"(?<![:\w])[a-zA-Z_]\w*(?![:\w])", bare))
    parts = {f"{metric.name}_{part}": metric.name for metric in metrics.ALL for part in ("bucket", "sum", "count")}
    return {parts.get(name, name) for name in found if "_" in name or name in FOREIGN} - FUNCTIONS


FUNCTIONS = {"histogram_quantile", "max_over_time", "count_over_time", "avg_over_time", "last_over_time"}


def test_the_files_are_those_of_the_tables() -> None:
    found = {file.name: file.read_text() for file in FOLDER.glob("*.json")}
    assert found == texts(), "run `python -m tools.dashboards`"


def test_alerts_link_to_dashboards_that_show_what_they_read() -> None:
    shown = {board.uid: set().union(*map(named, exprs(board))) for board in boards()}
    recorded = {rule["record"]: rule["expr"] for rule in rules_of() if "record" in rule}
    linked = set()
    for rule in alerts():
        uid = rule["annotations"]["dashboard_url"].removeprefix("https://beacon.example/d/")
        assert uid in shown, rule["alert"]
        linked.add(uid)
        expr = rule["expr"]
        for _ in range(3):
            expr = re.sub(r"beacon:\w+:\w+", lambda match: f"({recorded[match[0]]})", expr)
        read = named(expr) - {"beacon_threshold"}
        own = {name for name in read if name.startswith(("beacon_", "http_", "api_", "model_", "probe_"))}
        assert not own or own & shown[uid], f"{rule['alert']}: {uid} shows none of {sorted(own)}"
    assert linked == set(shown), "a dashboard that no alert links to"


def test_every_metric_that_is_read_exists_and_every_other_has_its_reason() -> None:
    queries = [expr for board in boards() for expr in exprs(board)] + [expr for _, _, expr, _ in ANNOTATIONS]
    exist = {metric.name for metric in metrics.ALL}
    read = set().union(*map(named, queries))
    assert read - exist - set(FOREIGN) == set()
    by_rules = set().union(*(named(rule["expr"]) for rule in rules_of()))
    assert exist - read - by_rules == set(UNSEEN)
    assert len(read) > 40


def test_labels_are_those_of_their_metrics() -> None:
    table: dict[str, Metric] = {metric.name: metric for metric in metrics.ALL}
    for board in boards():
        for expr in exprs(board):
            for name, inside in re.findall(r"(\w+?)(?:_bucket|_sum|_count)?\{([^}]*)\}", expr):
                labels = set(re.findall(r"(\w+) *(?:=|!)", re.sub(r'"[^"]*"', '""', inside))) - {"le", "__name__"}
                if name in table:
                    assert labels <= set(table[name].labels), f"{board.uid}: {expr}"


def test_every_selector_is_of_the_chosen_namespaces() -> None:
    for board in boards():
        for expr in exprs(board):
            read = [name for name in named(expr) if not name.startswith("beacon:")]
            assert scoped(expr).count('{namespace=~"$namespace"') >= len(read), scoped(expr)
    assert scoped('sum(up) by (job) / x:up:y{a="up"}') == 'sum(up{namespace=~"$namespace"}) by (job) / x:up:y{a="up"}'


def test_the_dashboards_are_of_the_product() -> None:
    product = load_product(ROOT / "feature_repo/product.yaml")
    rows = {board.uid: [row.title for row in board.rows] for board in boards()}
    assert [title.partition(":")[0] for title in rows["beacon-drift"][3:]] == list(product.key_features)
    assert rows["beacon-requests"][1:] == list(STAGES)


def test_panels_have_places_and_numbers_of_their_own() -> None:
    for text in texts().values():
        board = json.loads(text)
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
