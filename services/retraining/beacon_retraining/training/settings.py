"""The settings of a training, in a module of their own: every stage reads them, and scikit-learn takes seconds."""

import msgspec

MODEL_SPEC_NAMES = ("ridge", "extra-trees", "kernel-ridge", "boosting", "hist-boosting", "blend")
"""The names of model_specs.py, from simple to complex."""


class TrainSettings(msgspec.Struct, frozen=True):
    """How thorough the search is; `jobs` processes, -1 for one per core."""

    folds: int = 10
    repeats: int = 3
    coverage_folds: int = 5
    seed: int = 0
    jobs: int = -1
    candidates: tuple[str, ...] = MODEL_SPEC_NAMES
