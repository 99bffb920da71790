"""Panels and dashboards, and the JSON that Grafana reads them from (its dashboard model, schema version 39)."""

import re
from typing import Any, NamedTuple

from beacon_core.observability import metrics

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
FOREIGN = ("up", "ALERTS", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds")
"""Names of Prometheus itself and of the libraries, which our registries show beside ours."""
WIDTH = 24
HEIGHTS = {"stat": 4, "timeseries": 8, "heatmap": 8, "table": 8, "bargauge": 8}
NAMES = sorted([*FOREIGN, *(metric.name for metric in metrics.ALL)], key=len, reverse=True)
SELECTOR = re.compile(rf"\b({'|'.join(NAMES)})((?:_bucket|_sum|_count)?)\b(?!:)(\{{?)")


class Query(NamedTuple):
    """One line of a panel; `legend` names its series by their labels."""

    expr: str
    legend: str = ""


class Panel(NamedTuple):
    """One panel: title, Grafana's name of the unit, queries; `note` says how to read it."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    note: str = ""
    levels: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    """Colours from a value upwards, the first from the beginning."""
    exemplars: bool = False
    """Whether buckets show the traces that they have (as dots over the lines)."""


class Row(NamedTuple):
    """Panels side by side, under a title."""

    title: str
    panels: tuple[Panel, ...]


class Dashboard(NamedTuple):
    """One dashboard; `uid` is the end of its address, and the name of its file."""

    uid: str
    title: str
    note: str
    rows: tuple[Row, ...]


def panel(title: str, unit: str, *queries: str | tuple[str, str], **more: Any) -> Panel:
    """A panel over time, of PromQL, or pairs of PromQL and legend."""
    return Panel(
        title, unit, tuple(Query(*((each, "") if isinstance(each, str) else each)) for each in queries), **more
    )


def stat(
    title: str, unit: str, expr: str, *levels: tuple[float | None, str], legend: str = "", note: str = ""
) -> Panel:
    """One figure, as it is now."""
    return panel(title, unit, (expr, legend), kind="stat", levels=levels or ((None, "text"),), note=note)


def scoped(expr: str) -> str:
    """The query for the namespaces that the reader chose: every selector of a metric gets the label.

    Recorded series have no namespace, and stay as they are.
    """
    parts = re.split(r'("[^"]*")', expr)
    parts[::2] = [SELECTOR.sub(_chosen, part) for part in parts[::2]]
    return "".join(parts)


def _chosen(match: re.Match[str]) -> str:
    name, suffix, brace = match.groups()
    return f'{name}{suffix}{{namespace=~"$namespace"' + (", " if brace else "}")


ANNOTATIONS = (
    (
        "Model in service",
        "purple",
        'max by (model_version) (beacon_model_info{role="champion"})'
        ' unless max by (model_version) (beacon_model_info{role="champion"} offset 2m)',
        "version {{model_version}} in service",
    ),
    ("Promotion", "blue", "sum by (outcome) (increase(beacon_promotion_total[2m])) > 0", "promotion {{outcome}}"),
    (
        "Pages",
        "red",
        'max by (alertname) (ALERTS{alertstate="firing", severity="critical"})',
        "{{alertname}}",
    ),
)
"""What happened: name, colour, query, text."""


def document(board: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    return {
        "uid": board.uid,
        "title": f"Beacon: {board.title}",
        "description": board.note,
        "tags": ["beacon"],
        "timezone": "utc",
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {
                "type": "dashboards",
                "title": "Beacon",
                "tags": ["beacon"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }
        ],
        "templating": {"list": [_source_variable(), _namespace_variable()]},
        "annotations": {"list": [_annotation(*each) for each in ANNOTATIONS]},
        "panels": _panels(board.rows),
    }


def _source_variable() -> dict[str, Any]:
    return {
        "name": "datasource",
        "type": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
        "hide": 0,
        "refresh": 1,
        "regex": "",
        "options": [],
    }


def _namespace_variable() -> dict[str, Any]:
    return {
        "name": "namespace",
        "type": "query",
        "label": "Namespace",
        "datasource": SOURCE,
        "query": {"query": "label_values(beacon_build_info, namespace)", "refId": "namespace"},
        "current": {"text": "All", "value": "$__all"},
        # A machine without Kubernetes has no such label: all means also those.
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "hide": 0,
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "options": [],
    }


def _annotation(name: str, colour: str, expr: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": scoped(expr),
        "step": "60s",
        "titleFormat": text,
        "textFormat": "",
        "useValueForTime": False,
    }


def _panels(rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        found.append(
            {
                "type": "row",
                "id": len(found) + 1,
                "title": row.title,
                "gridPos": place,
                "collapsed": False,
                "panels": [],
            }
        )
        top += 1
        width, height = WIDTH // len(row.panels), max(HEIGHTS[each.kind] for each in row.panels)
        for number, each in enumerate(row.panels):
            place = {"x": number * width, "y": top, "w": width, "h": height}
            found.append({"id": len(found) + 1, "gridPos": place} | _panel(each))
        top += height
    return found


def _panel(panel: Panel) -> dict[str, Any]:
    steps = [{"color": colour, "value": value} for value, colour in panel.levels]
    defaults = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}} | DEFAULTS.get(panel.kind, {})
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.note,
        "datasource": SOURCE,
        "targets": [_target(panel, number, query) for number, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": OPTIONS[panel.kind],
        "transformations": TABLE if panel.kind == "table" else [],
    }


def _target(panel: Panel, number: int, query: Query) -> dict[str, Any]:
    now = panel.kind in {"stat", "table", "bargauge"}
    return {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": scoped(query.expr),
        "legendFormat": query.legend or "__auto",
        "instant": now,
        "range": not now,
        "exemplar": panel.exemplars,
        "format": {"heatmap": "heatmap", "table": "table"}.get(panel.kind, "time_series"),
    }


LEGEND = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
REDUCE = {"values": False, "calcs": ["lastNotNull"], "fields": ""}
DEFAULTS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "custom": {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": True}
    },
    "table": {"custom": {"align": "auto", "cellOptions": {"type": "auto"}}},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {"legend": LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {
        "reduceOptions": REDUCE,
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
    },
    "bargauge": {"reduceOptions": REDUCE, "displayMode": "basic", "orientation": "horizontal", "showUnfilled": True},
    "table": {"showHeader": True, "cellHeight": "sm"},
    "heatmap": {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5, "fill": "blue"},
        "yAxis": {"axisPlacement": "left"},
        "cellGap": 1,
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
        "exemplars": {"color": "orange"},
    },
}
TABLE = [{"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}}]
"""A table has a column for each label, and the value last."""
