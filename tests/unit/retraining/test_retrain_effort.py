"""The effort of a training falls with its rows, and few rows get all that the settings ask for."""

import pytest

from beacon_retraining.training.effort import FEW_ROWS, Effort, effort_of
from beacon_retraining.training.settings import TrainSettings

SETTINGS = TrainSettings()


def fits(effort: Effort) -> int:
    """Fits of the search for each recipe, and of the assessment."""
    return effort.folds * effort.repeats + effort.coverage_folds * (1 + effort.inner_folds)


@pytest.mark.parametrize("rows", [1, 506, FEW_ROWS])
def test_few_rows_get_what_the_settings_say(rows: int) -> None:
    assert effort_of(rows, SETTINGS) == Effort(10, 3, rows, 5, 5, 5, None)


def test_more_rows_never_take_more_fits() -> None:
    counts = [fits(effort_of(rows, SETTINGS)) for rows in range(1, 10_000)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[3000], counts[-1]) == (20, 11)


def test_settings_that_ask_for_less_get_less() -> None:
    quick = TrainSettings(folds=2, repeats=1, coverage_folds=2)
    assert effort_of(3000, quick) == Effort(2, 1, 3000, 2, 1, 5, None)
    assert effort_of(50_000, quick) == Effort(2, 1, 20_000, 2, 1, 1, 4000, refits=False)
