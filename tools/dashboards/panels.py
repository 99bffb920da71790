"""Panels and dashboards by Grafana's SDK, in one common look; the SDK's defaults are not repeated."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.bargauge import Panel as BarGauge
from grafana_foundation_sdk.builders.heatmap import HeatmapColorOptions, HeatmapTooltip, YAxisConfig
from grafana_foundation_sdk.builders.heatmap import Panel as Heatmap
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as of
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from tools.dashboards.queries import Query, scoped

Level = tuple[float | None, str]
"""A colour from a value upwards; None: from the beginning."""
Panel = Builder[model.Panel]
Kind = TypeVar("Kind", TimeSeries, Stat, BarGauge, Table, Heatmap)

GOOD, BAD, SO_SO = "green", "red", "orange"
SOURCE = of.DataSourceRef("prometheus", "${datasource}")
WIDTH = 24
SCHEMA = 39
"""Of the JSON: Grafana 11 reads it, and later ones migrate it at load."""
ANNOTATIONS = (
    (
        "Model in service",
        "purple",
        'max by (model_version) (beacon_model_info{role="champion"})'
        ' unless max by (model_version) (beacon_model_info{role="champion"} offset 2m)',
        "version {{model_version}} in service",
    ),
    ("Promotion", "blue", "sum by (outcome) (increase(beacon_promotion_total[2m])) > 0", "promotion {{outcome}}"),
    ("Pages", "red", 'max by (alertname) (ALERTS{alertstate="firing", severity="critical"})', "{{alertname}}"),
)
"""What happened: name, colour, query, text."""


def time_series(title: str, unit: str, *queries: Query, note: str = "", exemplars: bool = False) -> TimeSeries:
    """Lines over time; with `exemplars`, buckets show the traces that they have as dots over the lines."""
    panel = (
        TimeSeries()
        .draw_style(of.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(8)
        .show_points(of.VisibilityMode.NEVER)
        .span_nulls(True)
        .legend(look.VizLegendOptions().show_legend(True))
        .tooltip(look.VizTooltipOptions().mode(of.TooltipDisplayMode.MULTI).sort(of.SortOrder.DESCENDING))
    )
    return _panel(panel, title, unit, queries, note, exemplars=exemplars)


def stat(title: str, unit: str, expr: str, *levels: Level, note: str = "") -> Stat:
    """One figure, as it is now."""
    panel = Stat().reduce_options(_newest()).graph_mode(of.BigValueGraphMode.NONE)
    return _panel(panel, title, unit, [expr], note, levels or ((None, "text"),), now=True)


def bar_gauge(title: str, unit: str, query: Query, *levels: Level, note: str = "") -> BarGauge:
    """A bar for each series, as it is now."""
    panel = BarGauge().reduce_options(_newest()).display_mode(of.BarGaugeDisplayMode.BASIC)
    panel.orientation(of.VizOrientation.HORIZONTAL)
    return _panel(panel, title, unit, [query], note, levels or ((None, GOOD),), now=True)


def table(title: str, expr: str) -> Table:
    """A table with a row for each series, as it is now: a column for each label, and the value last."""
    hide_time = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}
    panel = Table().cell_options(of.TableAutoCellOptions())
    panel.with_transformation(model.DataTransformerConfig("organize", options=hide_time))
    return _panel(panel, title, "none", [expr], shape=PromQueryFormat.TABLE, now=True)


def heatmap(title: str, unit: str, query: Query) -> Heatmap:
    """How a histogram moves in time."""
    colours = HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues")
    panel = (
        Heatmap()
        .color(colours.steps(64).exponent(0.5).fill("blue"))
        .y_axis(YAxisConfig().axis_placement(of.AxisPlacement.LEFT))
        .tooltip(HeatmapTooltip().y_histogram(False).show_color_scale(False))
        .exemplars_color("orange")
    )
    return _panel(panel, title, unit, [query], shape=PromQueryFormat.HEATMAP)


def dashboard(uid: str, title: str, question: str, rows: Mapping[str, tuple[Panel, ...]]) -> model.Dashboard:
    """The dashboard of rows by their titles: panels side by side. `uid` ends its address, and names its file."""
    made = (
        build.Dashboard(f"Beacon: {title}")
        .uid(uid)
        .description(question)
        .tags(["beacon"])
        .timezone("utc")
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .version(1)
        .refresh("30s")
        .time("now-6h", "now")
        .link(_siblings())
        .annotations([_annotation(*each) for each in ANNOTATIONS])
        .with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus").regex(""))
        .with_variable(_namespace())
    )
    number = 0
    for head, panels in rows.items():
        made.with_row(build.Row(head).id(number := number + 1))
        height = 4 if all(isinstance(panel, Stat) for panel in panels) else 8
        for panel in panels:
            placed = panel.build()
            placed.id_val = number = number + 1
            placed.grid_pos = model.GridPos(h=height, w=WIDTH // len(panels))
            made.with_panel(panel)
    built = made.build()
    built.schema_version = SCHEMA
    return built


def _panel(
    panel: Kind,
    title: str,
    unit: str,
    queries: Sequence[Query],
    note: str = "",
    levels: tuple[Level, ...] = ((None, GOOD),),
    *,
    shape: PromQueryFormat = PromQueryFormat.TIME_SERIES,
    now: bool = False,
    exemplars: bool = False,
) -> Kind:
    steps = [model.Threshold(value, colour) for value, colour in levels]
    panel.title(title).unit(unit).description(note).datasource(SOURCE)
    panel.thresholds(build.ThresholdsConfig().steps(steps))
    for number, query in enumerate(queries):
        expr, legend = (query, "") if isinstance(query, str) else query
        target = Dataquery().expr(scoped(expr)).legend_format(legend or "__auto").ref_id(chr(ord("A") + number))
        target.datasource(SOURCE).editor_mode(QueryEditorMode.CODE).format(shape).exemplar(exemplars)
        panel.with_target(target.instant() if now else target.range())
    return panel


def _newest() -> look.ReduceDataOptions:
    return look.ReduceDataOptions().values(False).calcs(["lastNotNull"]).fields("")


def _siblings() -> build.DashboardLink:
    link = build.DashboardLink("Beacon").type(model.DashboardLinkType.DASHBOARDS).tags(["beacon"])
    return link.icon("external link").include_vars(True).keep_time(True)


def _namespace() -> build.QueryVariable:
    """A machine without Kubernetes has no such label: all means also those."""
    return (
        build.QueryVariable("namespace")
        .label("Namespace")
        .datasource(SOURCE)
        .query({"query": "label_values(beacon_build_info, namespace)", "refId": "namespace"})
        .current(model.VariableOption(text="All", value="$__all"))
        .include_all(True)
        .all_value(".*")
        .multi(True)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .regex("")
    )


def _annotation(name: str, colour: str, expr: str, text: str) -> build.AnnotationQuery:
    annotation = build.AnnotationQuery().name(name).datasource(SOURCE).icon_color(colour)
    return annotation.expr(scoped(expr)).step("60s").title_format(text).text_format("").use_value_for_time(False)
