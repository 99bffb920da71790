"""How a backup or a restore may fail: each error has its exit status."""

from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN


class BackupError(RuntimeError):
    """A backup or a restore that cannot be; the message says what to change."""

    exit_status = REFUSED


class BackupPlaceError(RuntimeError):
    """The place of the backups does not answer; a retry may help."""

    exit_status = TRY_AGAIN
