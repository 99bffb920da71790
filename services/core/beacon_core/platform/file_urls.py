"""Conversions from paths to SQLite URLs and file URIs.

A path may contain `?`, `#` and `%`, which have a meaning of their own in a URL.
"""

from pathlib import Path
from urllib.parse import quote


def sqlite_url(file: Path) -> str:
    """SQLAlchemy's URL of a SQLite file."""
    # As SQLAlchemy's URL.create writes it, without the time that its import takes.
    return f"sqlite:///{quote(str(file), safe=' +/')}"


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for a database in memory, a `file:` URI and another database."""
    from sqlalchemy import make_url  # noqa: PLC0415 - see above

    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or not parts.database or parts.database.startswith((":", "file:")):
        return None
    return Path(parts.database)


def at_file(url: str, file: Path) -> str:
    """The SQLite URL with another file."""
    from sqlalchemy import make_url  # noqa: PLC0415

    return make_url(url).set(database=str(file)).render_as_string(hide_password=False)


def file_uri(path: Path) -> str:
    """The file URI of a path, which may be relative to the working directory."""
    return path.absolute().as_uri()
