"""What a training is told. Apart from the training itself, as every stage reads it, and scikit-learn takes seconds."""

import msgspec

CANDIDATE_NAMES = ("ridge", "extra-trees", "kernel-ridge", "boosting", "blend")
"""All of candidates.py, from simple to complex."""


class TrainSettings(msgspec.Struct, frozen=True):
    """How thorough the search is; `jobs` processes, -1 for one a core."""

    folds: int = 10
    repeats: int = 3
    coverage_folds: int = 5
    seed: int = 0
    jobs: int = -1
    candidates: tuple[str, ...] = CANDIDATE_NAMES
