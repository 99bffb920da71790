"""The answer that is a file."""

from typing import Literal

from flask import Response

from beacon_console.downloads import csv_text
from beacon_console.downloads.table import Table

Form = Literal["csv", "parquet"]
FORMS: tuple[Form, ...] = ("csv", "parquet")


def file_answer(table: Table, form: Form, name: str) -> Response:
    """The table as a file of this name; browsers save it."""
    if form == "csv":
        content, kind = csv_text.write_csv(table), csv_text.TYPE
    else:
        # Loaded when somebody asks: it takes the console's start no time, and its memory only then.
        from beacon_console.downloads import parquet  # noqa: PLC0415

        content, kind = parquet.write_parquet(table), parquet.TYPE
    response = Response(content, content_type=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return response
