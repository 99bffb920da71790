"""An error of the command line: one sentence, with an exit status."""

from beacon_cli.exit_statuses import REFUSED


class CliError(Exception):
    """What was asked for cannot be done; the message is one sentence with what to do."""

    def __init__(self, message: str, exit_status: int = REFUSED) -> None:
        super().__init__(message)
        self.exit_status = exit_status
