"""How a run may fail: each error has its exit status."""

from beacon_core.domain.exit_statuses import REFUSED


class RetrainError(RuntimeError):
    """A failure of retraining, explained by its message."""

    exit_status = REFUSED
    again = False
    """Whether a retry at once may succeed."""
