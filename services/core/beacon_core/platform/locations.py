"""Locations that a setting may name: a folder, a file, a database, a remote.

Each function raises `ValueError` with the rule. Nothing here quotes an address: it may hold a password.
"""

import os
from pathlib import Path

from beacon_core.domain.addresses import check_text
from beacon_core.platform.file_urls import at_file, sqlite_file

PATTERNS = ("*", "::")
"""What Feast's reader of Parquet files takes for a pattern, or for a chain of file systems, whatever one does."""

DATABASE_RULE = (
    "is not DIALECT://USER:PASSWORD@HOST:PORT/NAME of a database that Beacon has a driver for (PostgreSQL, or SQLite: "
    "sqlite:////FOLDER/FILE; signs such as @ and / in a password are written %40, %2F)"
)


def absolute(text: str) -> Path:
    """The path that `text` names from the folder at hand, `~` read as a shell does."""
    if text.startswith("~"):
        try:
            text = str(Path(text).expanduser())
        except RuntimeError:
            raise ValueError(f"{text}: nobody's folder is known by that name; ./{text} is a folder here") from None
    # Two slashes at the beginning are a host's name to whoever reads a path as a URL.
    return Path(os.sep + text.lstrip(os.sep) if text.startswith(os.sep * 2) else text).absolute()


def folder(text: str) -> Path:
    """A folder, there or to be made."""
    path, there = _path(text)
    if there and not path.is_dir():
        raise ValueError(f"{path} is a file; a folder is wanted")
    return path


def check_home(path: Path) -> None:
    """Refuse a folder of state that Feast could not read from."""
    for sign in PATTERNS:
        if sign in str(path):
            raise ValueError(f"{path}: {sign!r} in the path is more than the feature store can read")


def file(text: str) -> Path:
    """A file, there or to be written."""
    path, there = _path(text)
    if there and path.is_dir():
        raise ValueError(f"{path} is a folder; a file is wanted")
    return path


def database(text: str) -> str:
    """SQLAlchemy's URL of a SQLite file or a PostgreSQL database."""
    check_text(text)
    try:
        scheme = text.partition(":")[0].partition("+")[0]
        if scheme not in {"sqlite", "postgresql"}:
            raise ValueError(scheme)
        path = sqlite_file(text)
    except Exception:  # noqa: BLE001 - whatever it is, its message may quote the password
        raise ValueError(DATABASE_RULE) from None
    if path is None:
        return text
    whole = file(str(path))
    return text if whole == path else at_file(text, whole)


def remote(text: str) -> str:
    """A URL such as s3://BUCKET/FOLDER, or a folder."""
    if "%(" in text:
        raise ValueError("holds '%(', which DVC reads as a variable's beginning")
    if "://" not in text:
        return str(folder(text))
    check_text(text)
    return text


def _path(text: str) -> tuple[Path, bool]:
    """The path, and whether it is there."""
    check_text(text)
    path = absolute(text)
    try:
        for above in path.parents:
            if above.exists() and not above.is_dir():
                raise ValueError(f"{path} lies below {above}, which is a file")
        there = path.exists()
        if path.is_symlink() and not there:
            raise ValueError(f"{path} is a symbolic link to something that is not there")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    return path, there
