"""How thorough a training is, by the number of its rows: of many rows, fewer fits measure a model as well.

| | up to `FEW_ROWS` | up to `MANY_ROWS` | above |
| --- | --- | --- | --- |
| rows that the search compares the specs on | all | all | `SEARCH_ROWS`, by chance |
| folds | the settings' | the settings' | at most 5 |
| repeats, at most the settings' | as many as hold out `HELD_OUT_ROWS` | the same, at least 1 | 1 |
| folds of the assessment | the settings' | the settings' | at most 3 |
| widths of an interval from | as many folds inside | a fifth of the rows, held out | the same |
| parity in the verdict, against | the recipe fitted anew | the same | above `SEARCH_ROWS`, the fit that was exported |
| shuffles of a feature, rows of a fold for them | 5, all | 5, all | 1, `VIEW_ROWS` |
"""

import msgspec

from beacon_retraining.training.settings import TrainSettings

FEW_ROWS = 1500
MANY_ROWS = 4000
HELD_OUT_ROWS = 4500
SEARCH_ROWS = 20_000
VIEW_ROWS = 4000


class Effort(msgspec.Struct, frozen=True):
    """The figures of the table above; `inner_folds` 1 is one part held out. `view_rows` None are all rows.

    `refits` says whether the verdict fits the recipe anew, to measure the package's parity.
    """

    folds: int
    repeats: int
    search_rows: int
    coverage_folds: int
    inner_folds: int
    shuffles: int
    view_rows: int | None
    refits: bool = True


def effort_of(rows: int, settings: TrainSettings) -> Effort:
    """The effort for so many rows."""
    if rows <= MANY_ROWS:
        repeats = min(settings.repeats, max(1, HELD_OUT_ROWS // max(rows, 1)))
        inner_folds = settings.coverage_folds if rows <= FEW_ROWS else 1
        return Effort(settings.folds, repeats, rows, settings.coverage_folds, inner_folds, 5, None)
    folds, coverage_folds = min(settings.folds, 5), min(settings.coverage_folds, 3)
    refits = rows <= SEARCH_ROWS
    return Effort(folds, 1, min(rows, SEARCH_ROWS), coverage_folds, 1, 1, VIEW_ROWS, refits)
