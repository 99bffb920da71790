"""How a run may fail: each failure knows the exit status that it asks for."""

from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN


class RetrainError(RuntimeError):
    """A failure of retraining that its message explains."""

    exit_status = REFUSED
    again = False
    """Whether the same run may set it right at once."""


class FetchError(RetrainError):
    """The data could not be fetched; the message says from where and why. The last good file is untouched."""

    exit_status = TRY_AGAIN


class FetchRefusedError(FetchError):
    """Trying again as it is will not help: credentials, permissions, the data set's name or its zip are wrong."""

    exit_status = REFUSED
