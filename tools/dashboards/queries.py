"""What the queries share: which requests count, limits of the product, quantiles, shares, realised figures."""

from tools.dashboards.grafana import Panel, panel

PREDICT = 'endpoint=~".*(predict|predict/batch|infer)|/invocations"'
"""Predictions only, as in the rules: probes, scrapes and unknown paths would dilute a share."""
RATE = "[$__rate_interval]"
GOOD, BAD, SO_SO = "green", "red", "orange"
SHARE, SECONDS, PER_SECOND = "percentunit", "s", "reqps"


_ASKED = f"sum(rate(http_requests_total{{{PREDICT}}}{RATE}))"
FAILURES = f'sum(rate(http_requests_total{{{PREDICT}, status=~"5.."}}{RATE})) / {_ASKED}'


def limit(name: str) -> str:
    """A limit of the product, as inference exports it."""
    return f'max(beacon_threshold{{name="{name}"}})'


def quantiles(metric: str, *shares: float, labels: str = "", by: str = "") -> list[tuple[str, str]]:
    """Quantiles of a histogram, one line each (and each value of the label `by`)."""
    groups, legend = ("le" + (f", {by}" if by else "")), (f" {{{{{by}}}}}" if by else "")
    rates = f"sum by ({groups}) (rate({metric}_bucket{{{labels}}}{RATE}))"
    return [(f"histogram_quantile({share}, {rates})", f"p{share * 100:g}{legend}") for share in shares]


def heatmap(title: str, unit: str, metric: str, labels: str = "", note: str = "") -> Panel:
    """How a histogram moves in time."""
    expr = f"sum by (le) (increase({metric}_bucket{{{labels}}}{RATE}))"
    return panel(title, unit, (expr, "{{le}}"), kind="heatmap", note=note)


def of_predictions(metric: str, by: str) -> tuple[str, str]:
    """The share of half an hour's predictions that a counter of the model counted, for each value of a label."""
    counted = f"sum by ({by}) (increase({metric}[30m]))" if by else f"sum(increase({metric}[30m]))"
    share = f"{counted} / on () group_left () (sum(increase(model_predictions_total[30m])) > 0)"
    return share, f"{{{{{by}}}}}" if by else "share"


def realised(metric: str, segment: str = '""') -> tuple[str, str]:
    """A realised figure of all predictions, a line a window."""
    return f'max by (window) (beacon_model_error{{metric="{metric}", segment={segment}}})', "{{window}}"
