"""Locations that a setting may name: a folder, a file, a database, a remote.

Each function raises `ValueError` with the rule. Nothing here quotes an address: it may hold a password.
"""

import os
import re
from pathlib import Path

from beacon_core.domain.addresses import check_text
from beacon_core.platform.file_urls import at_file, sqlite_file

PATTERNS = ("*", "::")
"""What Feast's reader of Parquet files always reads as a pattern, or as a chain of file systems."""
S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/|$)")
"""The beginning of an address of S3: its bucket."""

DATABASE_RULE = (
    "is not DIALECT://USER:PASSWORD@HOST:PORT/NAME of a database that Beacon has a driver for (PostgreSQL, or SQLite: "
    "sqlite:////FOLDER/FILE; signs such as @ and / in a password are written %40, %2F)"
)


def absolute(text: str) -> Path:
    """The absolute path of `text`, relative to the working directory, with `~` expanded."""
    if text.startswith("~"):
        try:
            text = str(Path(text).expanduser())
        except RuntimeError:
            raise ValueError(f"{text}: there is no such user; write ./{text} for a folder of this name") from None
    # In a URL two slashes at the beginning would introduce a host's name.
    return Path(os.sep + text.lstrip(os.sep) if text.startswith(os.sep * 2) else text).absolute()


def folder(text: str) -> Path:
    """The path of a folder, which need not exist yet."""
    path, there = _path(text)
    if there and not path.is_dir():
        raise ValueError(f"{path} is a file, must be a folder")
    return path


def check_home(path: Path) -> None:
    """Refuse a folder of state that Feast could not read from."""
    _check_patterns(str(path))


def file(text: str) -> Path:
    """The path of a file, which need not exist yet."""
    path, there = _path(text)
    if there and path.is_dir():
        raise ValueError(f"{path} is a folder, must be a file")
    return path


def database(text: str) -> str:
    """SQLAlchemy's URL of a SQLite file or a PostgreSQL database."""
    check_text(text)
    try:
        scheme = text.partition(":")[0].partition("+")[0]
        if scheme not in {"sqlite", "postgresql"}:
            raise ValueError(scheme)
        path = sqlite_file(text)
    except ImportError:  # as in inference, which has no driver and opens no database
        return text
    except Exception:  # noqa: BLE001 - whatever it is, its message may quote the password
        raise ValueError(DATABASE_RULE) from None
    if path is None:
        return text
    whole = file(str(path))
    return text if whole == path else at_file(text, whole)


def remote(text: str) -> str:
    """A URL such as s3://BUCKET/FOLDER, or a folder."""
    _check_variables(text)
    if "://" not in text:
        return str(folder(text))
    check_text(text)
    return text


def folder_or_s3(text: str) -> str:
    """A folder, or an address of S3."""
    if "://" not in text:
        return str(folder(text))
    check_text(text)
    if not S3.match(text):
        raise ValueError("must be a folder, or s3://BUCKET/FOLDER")
    return text.rstrip("/")


def shared_files(text: str) -> str:
    """The same, without what Feast or DVC would take for something else."""
    _check_patterns(text)
    _check_variables(text)
    return folder_or_s3(text)


def _check_patterns(text: str) -> None:
    for sign in PATTERNS:
        if sign in text:
            raise ValueError(f"{text}: {sign!r} in the path: the feature store cannot read it")


def _check_variables(text: str) -> None:
    if "%(" in text:
        raise ValueError("contains '%(', which DVC reads as the start of a variable")


def _path(text: str) -> tuple[Path, bool]:
    """The path, and whether it exists."""
    check_text(text)
    path = absolute(text)
    try:
        for above in path.parents:
            if above.exists() and not above.is_dir():
                raise ValueError(f"{path} lies below {above}, which is a file")
        there = path.exists()
        if path.is_symlink() and not there:
            raise ValueError(f"{path} is a broken symbolic link")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    return path, there
