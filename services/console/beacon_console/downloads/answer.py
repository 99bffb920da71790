"""The answer that is a file."""

import threading
from typing import Literal

from flask import Response

from beacon_console.downloads import csv_text
from beacon_console.downloads.table import Table
from beacon_core.domain.errors import BeaconError

Form = Literal["csv", "parquet"]
WAIT_SECONDS = 10.0
_one_at_a_time = threading.Lock()
"""A file is made in memory, and several at once would take more than the console has."""


class File:
    """A table as a file; made one after the other, whoever asks. Raises BeaconError `overloaded`."""

    def __init__(self, table: Table, form: Form) -> None:
        self._form = form
        if not _one_at_a_time.acquire(timeout=WAIT_SECONDS):
            raise BeaconError("overloaded", "Other files are being made; try again.")
        try:
            self._content, self._type = _written(table, form)
        finally:
            _one_at_a_time.release()

    def answer(self, name: str) -> Response:
        """The file under this name; browsers save it."""
        response = Response(self._content, content_type=self._type)
        response.headers["Content-Disposition"] = f'attachment; filename="{name}.{self._form}"'
        return response


def _written(table: Table, form: Form) -> tuple[bytes, str]:
    if form == "csv":
        return csv_text.write_csv(table), csv_text.TYPE
    # Loaded when somebody asks: it takes the console's start no time, and its memory only then.
    from beacon_console.downloads import parquet  # noqa: PLC0415

    return parquet.write_parquet(table), parquet.TYPE
