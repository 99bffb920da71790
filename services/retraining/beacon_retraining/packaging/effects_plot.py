"""The effects of a model's features as one picture: contributions, curves, and the strongest interaction."""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from beacon_core.domain.feature import Feature
from beacon_core.model_package.manifest import Manifest
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.packaging.card import value_text
from beacon_retraining.packaging.effects import Curve, Effects, Interaction

STYLE: dict[Any, Any] = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10,
    "svg.hashsalt": "beacon",
}  # fmt: skip
BARS = 12
"""Features in the first plot."""
LONGEST_LABEL = 18
LETTERS_BELOW = 45
"""Letters that fit below a plot."""
LINES = 4
"""Lines of the interaction: values of the second feature."""
BLUE, GREY = "#0072b2", "#d9d9d9"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def effects_plot(effects: Effects, manifest: Manifest) -> str:
    """The picture as SVG; equal effects give equal bytes."""
    panels = 1 + len(effects.curves) + (effects.interaction is not None)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 3.0 * -(-panels // 2)), layout="constrained")
        axes = np.ravel(figure.subplots(-(-panels // 2), 2, squeeze=False)).tolist()
        _contributions(axes[0], effects, manifest)
        for place, curve in zip(axes[1:], effects.curves, strict=False):
            _curve(place, curve, manifest)
        if effects.interaction is not None:
            _interaction(axes[1 + len(effects.curves)], effects.interaction, manifest)
        for unused in axes[panels:]:
            unused.set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _contributions(axes: Axes, effects: Effects, manifest: Manifest) -> None:
    shown = list(effects.contributions.items())[:BARS][::-1]
    axes.barh([_short(name) for name, _ in shown], [size for _, size in shown], color=BLUE)
    axes.set_title(f"Mean size of contributions{_unit(manifest)}", loc="left")


def _curve(axes: Axes, curve: Curve, manifest: Manifest) -> None:
    feature = manifest.schema.features[curve.feature]
    ticks = _positions(feature, curve.values)
    behind = axes.twinx()
    behind.set_axis_off()
    behind.set_ylim(0, max(curve.shares.max(), 1e-9) * 3)  # the rows keep to the lower third
    if not len(curve.edges):
        # Only features with two values or more have a curve.
        behind.bar(ticks, curve.shares, width=0.7 * np.diff(ticks).min(), color=GREY)
    else:
        behind.stairs(curve.shares, curve.edges, fill=True, color=GREY)
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    style = {"linestyle": "none", "marker": "o"} if feature.is_category else {"marker": "."}
    axes.plot(ticks, curve.predictions, color=BLUE, **style)  # type: ignore[arg-type]
    axes.margins(y=0.15)
    if feature.is_whole:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    _label(axes, curve.feature, ticks, curve.values, manifest)
    unit = f" ({feature.unit})" if feature.unit else ""
    axes.set_title(f"Mean prediction by {_short(feature.name)}{unit}", loc="left")


def _interaction(axes: Axes, found: Interaction, manifest: Manifest) -> None:
    features = manifest.schema.features
    first, second = features[found.first], features[found.second]
    ticks = _positions(first, found.first_values)
    lines = np.unique(np.linspace(0, len(found.second_values) - 1, LINES).round().astype(int))
    for colour, line in zip(COLOURS, lines.tolist(), strict=False):
        text = _short(value_text(second, manifest.features[found.second], found.second_values[line]))
        axes.plot(ticks, found.predictions[:, line], ".-", color=colour, label=text)
    axes.legend(title=_short(second.name), fontsize=8, title_fontsize=8, frameon=False)
    _label(axes, found.first, ticks, found.first_values, manifest)
    axes.set_title(f"Interaction: {_short(first.name)} by {_short(second.name)}", loc="left")


def _positions(feature: Feature, values: Matrix) -> Matrix:
    return np.arange(len(values), dtype=np.float64) if feature.is_category else values


def _label(axes: Axes, at: int, ticks: Matrix, values: Matrix, manifest: Manifest) -> None:
    """The values of a category or a time as text, below the axis."""
    feature, facts = manifest.schema.features[at], manifest.features[at]
    if not (feature.is_category or feature.is_time):
        return
    chosen = np.arange(len(ticks)) if feature.is_category else np.linspace(0, len(ticks) - 1, 4).astype(int)
    names = [value_text(feature, facts, value) for value in values[chosen].tolist()]
    names = [name.partition("T")[0] for name in names] if feature.is_time else [_short(name) for name in names]
    crowded = (max(map(len, names)) + 1) * len(names) > LETTERS_BELOW
    axes.set_xticks(ticks[chosen], names, rotation=40 if crowded else 0, ha="right" if crowded else "center")


def _short(text: str) -> str:
    """A text that fits beside others; a dollar sign is no formula."""
    shown = text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 3].rstrip() + "..."
    return shown.replace("$", r"\$")


def _unit(manifest: Manifest) -> str:
    unit = manifest.schema.target.unit
    return f" ({unit})" if unit else ""
