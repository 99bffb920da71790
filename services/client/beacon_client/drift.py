"""A drift run as frames."""

from dataclasses import dataclass
from typing import Any

from beacon_client.frames import frame


@dataclass(frozen=True)
class DriftReport:
    """One drift run, as the console has it."""

    run: dict[str, Any]
    """Its period, state and summary."""
    result_rows: list[dict[str, Any]]
    figure_rows: list[dict[str, Any]]

    @property
    def period(self) -> str:
        """What the run is called."""
        return str(self.run["period"])

    @property
    def state(self) -> str:
        """What it found: `ok`, `drift`, `error` or why it could not say."""
        return str(self.run["state"])

    @property
    def results(self) -> Any:
        """A frame with a row per window, feature and effect: score, threshold, p-value, alarm, confirmed."""
        return frame(self.result_rows)

    @property
    def figures(self) -> Any:
        """A frame with the realised figures of the model, by window and segment."""
        return frame(self.figure_rows)
