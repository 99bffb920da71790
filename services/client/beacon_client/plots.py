"""Pictures of predictions and drift, by matplotlib; each returns its axes."""

from typing import Any

from beacon_client.drift import DriftReport


def against_actuals(log: Any, axes: Any = None) -> Any:
    """Predictions against actuals, of a table of `Beacon.predictions`."""
    axes = _axes(axes)
    rows = log.to_pandas().dropna(subset=["actual"])
    axes.scatter(rows["actual"], rows["prediction"], s=12, alpha=0.6)
    ends = [min(rows["actual"].min(), rows["prediction"].min()), max(rows["actual"].max(), rows["prediction"].max())]
    axes.plot(ends, ends, color="grey", linewidth=1)
    axes.set(xlabel="actual", ylabel="prediction", title=f"{len(rows)} predictions with actuals")
    return axes


def error_over_time(log: Any, every: str = "1D", axes: Any = None) -> Any:
    """The mean absolute error per span of time (pandas' words, such as `1D`), of a table of `Beacon.predictions`."""
    axes = _axes(axes)
    rows = log.to_pandas().dropna(subset=["actual"]).set_index("time")
    errors = (rows["prediction"] - rows["actual"]).abs().resample(every).mean().dropna()
    axes.plot(errors.index, errors.to_numpy(), marker="o")
    axes.set(xlabel="time of the prediction", ylabel="mean absolute error", ylim=(0, None))
    return axes


def drift_scores(report: DriftReport, window: str | None = None, most: int = 15, axes: Any = None) -> Any:
    """The largest scores of a drift run as multiples of their thresholds; above 1 is an alarm's size."""
    axes = _axes(axes)
    results = report.results.dropna(subset=["score", "threshold"])
    results = results[results["threshold"] > 0]
    shown = window or (results["window"].iloc[0] if len(results) else None)
    results = results[results["window"] == shown].copy()
    results["multiple"] = results["score"] / results["threshold"]
    results = results.nlargest(most, "multiple").iloc[::-1]
    colours = ["tab:red" if confirmed else "tab:blue" for confirmed in results["confirmed"]]
    axes.barh(results["feature"] + ": " + results["effect"], results["multiple"], color=colours)
    axes.axvline(1, color="grey", linewidth=1)
    axes.set(xlabel="score, as a multiple of its threshold", title=f"drift run {report.period}, window {shown}")
    return axes


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra

    return plt.subplots()[1]
