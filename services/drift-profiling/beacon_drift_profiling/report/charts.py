"""The charts of a report as SVG: distributions beside their reference, and a score against its threshold."""

from collections.abc import Sequence
from html import escape

from beacon_core.data.drift_results import ColumnDistribution
from beacon_drift_profiling.comparison.compare import UNSEEN

WIDTH, HEIGHT = 320.0, 132.0
FLOOR = 104.0
TOP = 8.0
MOST_NAMED = 10
CHARACTER = 6.5
"""The width of a character, about."""
MOST_CHARACTERS = 24


def distribution_chart(distribution: ColumnDistribution) -> str:
    """Bars of the window over those of the reference, one pair per bin; a bin's title shows both shares."""
    highest = max([*distribution.reference, *distribution.seen, 1e-9])
    step = WIDTH / len(distribution.labels)
    parts = []
    for place, (label, known, seen) in enumerate(
        zip(distribution.labels, distribution.reference, distribution.seen, strict=True)
    ):
        left = place * step
        title = escape(f"{label}: {seen:.1%} now, {known:.1%} in training")
        bars = _bar(left + step * 0.10, step * 0.38, known / highest, "known")
        bars += _bar(left + step * 0.50, step * 0.38, seen / highest, "seen")
        parts.append(f"<g><title>{title}</title>{bars}</g>")
    texts = "".join(_text(*name) for name in _names(distribution.labels, step))
    axis = f'<line class="axis" x1="0" y1="{FLOOR}" x2="{WIDTH}" y2="{FLOOR}"/>'
    return _svg("distribution, now beside training", "".join(parts) + axis + texts)


def _names(labels: Sequence[str], step: float) -> list[tuple[float, str, str]]:
    """What stands below the bars, each with its place and anchor: all names where they have room, else the ends'."""
    if len(labels) <= MOST_NAMED:
        room = max(int(step / CHARACTER), 2)
        short = [label if len(label) <= room else f"{label[: room - 1]}…" for label in labels]
        return [((place + 0.5) * step, "middle", label) for place, label in enumerate(short)]
    # The bars of all other levels and of unseen ones stand side by side, so that one name would be taken for the other.
    last = f"{labels[-2]}, {labels[-1]}" if labels[-1] == UNSEEN else labels[-1]
    return [(0.0, "start", labels[0][:MOST_CHARACTERS]), (WIDTH, "end", last)]


def trend_chart(points: Sequence[tuple[str, float | None, float | None]]) -> str:
    """A score over the runs, and its threshold, dashed; `points` are (period, score, threshold), the oldest first."""
    scores = [(place, score) for place, (_, score, _) in enumerate(points) if score is not None]
    limits = [(place, limit) for place, (_, _, limit) in enumerate(points) if limit is not None]
    if len(scores) < 2:
        return ""
    highest = max(value for _, value in scores + limits) * 1.08 or 1.0
    right = max(len(points) - 1, 1)

    def path(values: Sequence[tuple[int, float]]) -> str:
        places = [(place / right * WIDTH, FLOOR - value / highest * (FLOOR - TOP)) for place, value in values]
        return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)

    lines = f'<path class="limit" d="{path(limits)}"/><path class="score" d="{path(scores)}"/>'
    place, score = scores[-1]
    x, y = place / right * WIDTH, FLOOR - score / highest * (FLOOR - TOP)
    lines += f'<circle class="seen" cx="{min(x, WIDTH - 4):.1f}" cy="{y:.1f}" r="3.5"/>'
    lines += f'<line class="axis" x1="0" y1="{FLOOR}" x2="{WIDTH}" y2="{FLOOR}"/>'
    ends = [(0.0, "start", _short(points[0][0])), (WIDTH, "end", _short(points[-1][0]))]
    lines += "".join(_text(*end) for end in ends)
    return _svg("score over the runs, threshold dashed", lines)


def _bar(left: float, width: float, share: float, kind: str) -> str:
    height = share * (FLOOR - TOP)
    return f'<rect class="{kind}" x="{left:.1f}" y="{FLOOR - height:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _text(x: float, anchor: str, label: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT - 12:.0f}" text-anchor="{anchor}">{escape(label)}</text>'


def _short(period: str) -> str:
    return period[5:16].replace("T", " ")


def _svg(label: str, content: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{label}">{content}</svg>'
