"""The settings of a training, in a module of their own: every stage reads them, and scikit-learn takes seconds."""

import msgspec


class TrainSettings(msgspec.Struct, frozen=True):
    """How a model is measured and searched for; `jobs` processes, -1 for one per core.

    `candidates`, `budget_seconds` and `trials` stand in for product.yaml's training.models, training.budget_seconds and
    training.trials; None leaves them as they are there. A training from code tunes nothing unless it says so.
    """

    folds: int = 10
    repeats: int = 3
    coverage_folds: int = 5
    seed: int = 0
    jobs: int = -1
    candidates: tuple[str, ...] | None = None
    budget_seconds: float | None = 0.0
    trials: int | None = None
