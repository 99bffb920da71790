"""How a run may fail: each failure knows the exit status that it asks for."""

from sqlalchemy.exc import SQLAlchemyError

from beacon_core.domain.errors import ConfigurationError
from beacon_core.model_package.manifest import PackageError
from beacon_core.platform.data_file import DataError
from beacon_core.platform.locks import BusyError
from beacon_core.platform.mlflow import RegistryUnavailableError

REFUSED, BAD_DATA, TRY_AGAIN = 1, 65, 75


class RetrainError(RuntimeError):
    """A failure of retraining that its message explains; `status` is 1 refused, 65 bad data or 75 try again later."""

    status = REFUSED
    again = False
    """Whether the same run may set it right at once."""


EXPECTED: tuple[type[Exception], ...] = (
    RetrainError,
    DataError,
    BusyError,
    RegistryUnavailableError,
    ConfigurationError,
    PackageError,
    SQLAlchemyError,
    OSError,
)
"""What a run may end with; anything else is a mistake of ours."""


class FetchError(RetrainError):
    """The data could not be fetched; the message says from where and why. The last good file is untouched."""

    status = TRY_AGAIN


class FetchRefusedError(FetchError):
    """Trying again as it is will not help: credentials, permissions, the data set's name or its zip are wrong."""

    status = REFUSED


def status_of(error: BaseException) -> int:
    """The exit status of a failure; a database or a disk that fails may be back when it is tried again."""
    if isinstance(error, RetrainError):
        return error.status
    if isinstance(error, DataError):
        return BAD_DATA
    return TRY_AGAIN if isinstance(error, BusyError | RegistryUnavailableError | SQLAlchemyError | OSError) else REFUSED
