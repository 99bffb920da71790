"""What the queries share: which requests count, limits of the policy, rates, quantiles, shares, realised figures."""

import re

from beacon_core.observability import metrics

Query = str | tuple[str, str]
"""PromQL, or PromQL and the legend that names its series by their labels."""

PREDICT = 'endpoint=~".*(predict|predict/batch|infer)|/invocations"'
"""Predictions only, as in the rules: probes, scrapes and unknown paths would dilute a share."""
RATE = "[$__rate_interval]"
MOST_SERIES = 20
"""So many lines a panel shows of features or segments."""
SHARE, SECONDS, PER_SECOND = "percentunit", "s", "reqps"

_ASKED = f"sum(rate(http_requests_total{{{PREDICT}}}{RATE}))"
FAILURES = f'sum(rate(http_requests_total{{{PREDICT}, status=~"5.."}}{RATE})) / {_ASKED}', "share of 5xx"

FOREIGN = ("up", "ALERTS", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds")
"""Names of Prometheus itself and of the libraries, which our registries show beside ours."""
NAMES = sorted([*FOREIGN, *(metric.name for metric in metrics.ALL)], key=len, reverse=True)
SELECTOR = re.compile(rf"\b({'|'.join(NAMES)})((?:_bucket|_sum|_count)?)\b(?!:)(\{{?)")


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


def by(labels: str, expr: str, legend: str = "", *, of: str = "max") -> tuple[str, str]:
    """The largest (`of`: another aggregate) for each value of the labels, which name the series."""
    return f"{of} by ({labels}) ({expr})", legend or ", ".join(f"{{{{{label}}}}}" for label in labels.split(", "))


def most(query: tuple[str, str], series: int = MOST_SERIES) -> tuple[str, str]:
    """The largest series of a query: a product may have hundreds of features and segments."""
    expr, legend = query
    return f"topk({series}, {expr})", legend


def quoted(text: str) -> str:
    """A text as it stands between the quotes of PromQL."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def rates(labels: str, counter: str, legend: str = "") -> tuple[str, str]:
    """The rate of a counter, for each value of the labels."""
    return by(labels, f"rate({counter}{RATE})", legend, of="sum")


def rate(counter: str, legend: str) -> tuple[str, str]:
    """The rate of a counter."""
    return f"sum(rate({counter}{RATE}))", legend


def limit(name: str) -> str:
    """A limit of policy.yaml, which a service exports as `beacon_threshold`."""
    return f'max(beacon_threshold{{name="{name}"}})'


def since(timestamps: str) -> str:
    """How long ago it was."""
    return f"time() - {timestamps}"


def quantiles(metric: str, *shares: float, labels: str = "", by: str = "") -> list[tuple[str, str]]:
    """Quantiles of a histogram, one line each (and each value of the label `by`)."""
    groups, legend = ("le" + (f", {by}" if by else "")), (f" {{{{{by}}}}}" if by else "")
    buckets = f"sum by ({groups}) (rate({metric}_bucket{{{labels}}}{RATE}))"
    return [(f"histogram_quantile({share}, {buckets})", f"p{share * 100:g}{legend}") for share in shares]


def buckets(metric: str, labels: str = "") -> tuple[str, str]:
    """How many observations each bucket of a histogram got."""
    return f"sum by (le) (increase({metric}_bucket{{{labels}}}{RATE}))", "{{le}}"


def of_predictions(metric: str, by: str = "", legend: str = "share") -> tuple[str, str]:
    """The share of half an hour's predictions that a counter of the model counted, for each value of a label."""
    counted = f"sum by ({by}) (increase({metric}[30m]))" if by else f"sum(increase({metric}[30m]))"
    share = f"{counted} / on () group_left () (sum(increase(model_predictions_total[30m])) > 0)"
    return share, f"{{{{{by}}}}}" if by else legend


def realised(metric: str) -> tuple[str, str]:
    """A realised figure of all predictions, a line for each window."""
    return by("window", f'beacon_model_error{{metric="{metric}", segment=""}}')
