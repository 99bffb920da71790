"""How a source may fail that is not the data's fault."""

from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN


class FetchError(RuntimeError):
    """The data could not be fetched; the message says from where and why. The last good file is untouched."""

    exit_status = TRY_AGAIN


class FetchRefusedError(FetchError):
    """A retry will not help: credentials, permissions, a name or an address are wrong."""

    exit_status = REFUSED
