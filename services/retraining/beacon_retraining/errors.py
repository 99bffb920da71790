"""How a run may fail: each error has its exit status."""

from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN


class RetrainError(RuntimeError):
    """A failure of retraining, explained by its message."""

    exit_status = REFUSED
    again = False
    """Whether a retry at once may succeed."""


class FetchError(RetrainError):
    """The data could not be fetched; the message says from where and why. The last good file is untouched."""

    exit_status = TRY_AGAIN


class FetchRefusedError(FetchError):
    """A retry will not help: credentials, permissions, the data set's name or its zip are wrong."""

    exit_status = REFUSED
