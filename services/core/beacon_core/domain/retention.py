"""The section `retention` of policy.yaml: how long data is kept, and which limits are refused."""

from typing import NamedTuple

import msgspec

from beacon_core.domain.spec import MOST_DAYS, Rule, Spec


class Retention(Spec, frozen=True):
    """How long data is kept, in days; docs/how-to/retention.md explains each. null: for ever.

    A limit is refused where drift or retraining would lose rows that they still read.
    """

    predictions_days: int | None = None
    """Rows of the prediction log, by when they were made."""
    actuals_days: int | None = None
    """Actuals, by when they were received."""
    drift_days: int | None = None
    """Profiles, results and reports of drift."""


class DaysRead(NamedTuple):
    """For how many days data is still read: by the windows of drift and quality, and until a retraining read it."""

    windows: int
    learning: int


WINDOWS = "the longest window of drift.windows_days and quality.windows_days, and the day that it ends in"
LEARNING = "monitoring.model_age_days plus monitoring.actual_age_days, so that a retraining reads every label"


def retention_rules(limits: Retention, read: DaysRead) -> list[Rule]:
    """The rules of the section, for what the rest of the policy reads."""
    both = max(read)
    rows = f"{WINDOWS}, and {LEARNING}"
    needed = (("predictions_days", both, rows), ("actuals_days", both, rows), ("drift_days", read.windows, WINDOWS))
    kept = msgspec.structs.asdict(limits)
    predictions, actuals = limits.predictions_days, limits.actuals_days
    covers = predictions is not None and actuals is not None and actuals >= predictions
    return [
        *(
            (
                f"retention.{name}",
                kept[name] is None or least <= kept[name] <= MOST_DAYS,
                f"must be {least} to {MOST_DAYS}, or null (for ever): it must cover {why}",
            )
            for name, least, why in needed
        ),
        (
            "retention.actuals_days",
            actuals is None or covers,
            "must be at least retention.predictions_days: a prediction would lose its actual, or take a later one",
        ),
    ]
