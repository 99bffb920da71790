"""How a run may fail: each error has its exit status."""

from collections.abc import Iterator
from contextlib import contextmanager

from beacon_core.domain.exit_statuses import REFUSED


class RetrainError(RuntimeError):
    """A failure of retraining, explained by its message."""

    exit_status = REFUSED
    again = False
    """Whether a retry at once may succeed."""


class ForeignModelError(RetrainError):
    """A model of another library cannot become a package; the message says what is wrong with it, and what to do."""


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Begin the refusals of the block with the model's name."""
    try:
        yield
    except ForeignModelError as error:
        raise ForeignModelError(f"{name}: {error}") from error
