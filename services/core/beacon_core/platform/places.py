"""What a setting may name: a folder, a file, an address, a database. Each function raises `ValueError` with the rule.

Nothing here quotes an address: it may hold a password.
"""

import os
import unicodedata
from pathlib import Path
from urllib.parse import urlsplit

from beacon_core.platform.files import at_file, sqlite_file

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


def host(text: str) -> str:
    """A host's name or address."""
    _check(text)
    if any(sign.isspace() for sign in text) or "/" in text:
        raise ValueError("is not a host's name or address")
    return text


def http_address(text: str) -> str:
    """The address of a service, without a slash at its end."""
    parts = urlsplit(http_url(text))
    if parts.query or parts.fragment:
        raise ValueError("is an address with a query or a fragment; http://HOST:PORT is wanted")
    return text.rstrip("/")


def http_url(text: str) -> str:
    """A URL of HTTP."""
    _check(text)
    try:
        parts = urlsplit(text)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or any(sign.isspace() for sign in text):
        raise ValueError("is not an address such as http://HOST:PORT")
    return text


def database(text: str) -> str:
    """SQLAlchemy's URL of a SQLite file or a PostgreSQL database."""
    _check(text)
    try:
        scheme = text.partition(":")[0].partition("+")[0]
        if scheme not in {"sqlite", "postgresql"}:
            raise ValueError(scheme)
        path = sqlite_file(text)
    except Exception:  # noqa: BLE001 - whatever it is, its words may quote the password
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
    _check(text)
    return text


def _path(text: str) -> tuple[Path, bool]:
    """The path, and whether it is there."""
    _check(text)
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


def _check(text: str) -> None:
    """Refuse what comes of a file read whole, a copied line or a wrong encoding."""
    if text != text.strip():
        raise ValueError("begins or ends with a blank or a line break")
    # Cs: what is no UTF-8, as Python keeps it.
    if any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in text):
        raise ValueError("holds a line break, or what is no text in UTF-8")
