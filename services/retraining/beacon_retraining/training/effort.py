"""How thorough a training is, by the number of its rows: of many rows, fewer fits measure a model as well.

| | up to `FEW_ROWS` | above |
| --- | --- | --- |
| rows that the search compares the specs on | all | `SEARCH_ROWS`, by chance |
| folds, repeats | the settings' | at most 5, 1 |
| folds of the assessment | the settings' | at most 3 |
| widths of an interval from | as many folds inside | a fifth of the rows, held out |
| shuffles of a feature, rows of a fold for them | 5, all | 1, `VIEW_ROWS` |
"""

import msgspec

from beacon_retraining.training.settings import TrainSettings

FEW_ROWS = 4000
SEARCH_ROWS = 8000
VIEW_ROWS = 4000


class Effort(msgspec.Struct, frozen=True):
    """The figures of the table above; `inner_folds` 1 is one part held out. `view_rows` None are all rows."""

    folds: int
    repeats: int
    search_rows: int
    coverage_folds: int
    inner_folds: int
    shuffles: int
    view_rows: int | None


def effort_of(rows: int, settings: TrainSettings) -> Effort:
    """The effort for so many rows."""
    if rows <= FEW_ROWS:
        return Effort(settings.folds, settings.repeats, rows, settings.coverage_folds, settings.coverage_folds, 5, None)
    return Effort(min(settings.folds, 5), 1, min(rows, SEARCH_ROWS), min(settings.coverage_folds, 3), 1, 1, VIEW_ROWS)
