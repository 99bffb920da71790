"""What the entry point's function gets."""

import msgspec


class TrainingInputs(msgspec.Struct, frozen=True):
    """The columns of the table that the estimator is fitted on, by their kind, the target's name, and the seed.

    `text` are categories of text, `flags` true or false, `numbers` all else. The estimator must draw by `seed` alone:
    give it to every `random_state`.
    """

    text: list[str]
    flags: list[str]
    numbers: list[str]
    target: str
    seed: int
