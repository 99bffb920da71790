"""The picture of a run: requests/s of every server, and p99 as the rate rises."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from harness.measure import Measured
from harness.model import PLAIN, PRODUCT

COLOURS = {
    "beacon": "#0b6e4f",
    "floor": "#9aa5b1",
    "fastapi": "#d1495b",
    "kserve": "#edae49",
    "mlserver": "#00798c",
    "bentoml": "#8f5bb5",
    "mlflow": "#30638e",
}


def draw(file: Path, servers: dict[str, Measured], models: dict[str, str]) -> None:
    """Write the picture; the file's suffix says whether as SVG or PNG. `models` are titles by name."""
    mpl.rcParams["svg.hashsalt"] = "beacon"
    figure = Figure(figsize=(11, 4.2), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    ordered = sorted(servers.values(), key=lambda server: server.models[PRODUCT].closed["1x8"].per_second)
    titles = [server.title.replace("*", "").replace("`", "") for server in ordered]
    colours = [COLOURS[server.name] for server in ordered]
    most = 0.0
    for shift, opacity, name in ((0.2, 1.0, PRODUCT), (-0.2, 0.5, PLAIN)):
        rates = [server.models[name].closed["1x8"].per_second for server in ordered]
        places = [place + shift for place in range(len(ordered))]
        bars = left.barh(places, rates, height=0.38, color=colours, alpha=opacity, label=models[name])
        left.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=4, fontsize=8)
        most = max(most, *rates)
    left.set_yticks(range(len(ordered)), titles)
    left.legend(fontsize=8, loc="lower right")
    left.set_xlim(0, most * 1.15)
    left.locator_params(axis="x", nbins=5)
    left.xaxis.set_major_formatter("{x:,.0f}")
    left.set_title("requests/s, one row, 8 connections")
    for server in reversed(ordered):
        held = [paced for paced in server.open if paced.held]
        label = server.title.replace("*", "").replace("`", "")
        right.plot(
            [paced.rate for paced in held],
            [paced.p99_ms for paced in held],
            marker="o",
            color=COLOURS[server.name],
            label=label,
        )
    if any(paced.held for server in ordered for paced in server.open):  # nothing has no logarithm
        right.set_xscale("log")
        right.set_yscale("log")
    ticks = sorted({paced.rate for server in ordered for paced in server.open})
    right.set_xticks(ticks, [f"{rate:,}" for rate in ticks])
    right.minorticks_off()
    right.yaxis.set_major_formatter("{x:g}")
    right.set_xlabel("requests/s sent, as far as the server kept up")
    right.set_title("p99 in ms, one row, open loop")
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Date": None} if file.suffix == ".svg" else None)
