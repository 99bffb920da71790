"""Fetch: the raw data file, from Kaggle when there are credentials, else the bundled sample.

A new file is checked where it landed and only then takes the place of the last good one, in one step.
"""

import contextlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from beacon_core.product import Product
from beacon_core.settings import Settings

KAGGLE_FILES = ("kaggle.json", "access_token", "credentials.json")


class FetchError(RuntimeError):
    """The data could not be fetched; the message says from where and why. The last good file is untouched."""


class Fetched(msgspec.Struct, frozen=True):
    """The raw file now in force, its source (`sample` or `kaggle:OWNER/NAME`) and why that source was used."""

    file: Path
    source: str
    why: str


def raw_file(settings: Settings, product: Product) -> Path:
    """Where the last good raw file lies."""
    return settings.home / "data" / "raw" / product.source.file


def fetch(
    settings: Settings,
    product: Product,
    check: Callable[[Path], object],
    environment: Mapping[str, str] = os.environ,
) -> Fetched:
    """Bring the raw file to `raw_file`; `check` raises for a bad one. Raises `FetchError` or what `check` raises."""
    target = raw_file(settings, product)
    target.parent.mkdir(parents=True, exist_ok=True)
    credentials = kaggle_credentials(environment)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=target.parent) as folder:
        if credentials is None:
            source, why = "sample", "no Kaggle credentials are set; using the sample bundled with Beacon"
            incoming = Path(shutil.copyfile(product.sample_path, Path(folder) / product.source.file))
        else:
            source, why = f"kaggle:{product.source.kaggle}", f"Kaggle credentials from {credentials}"
            incoming = _download(product, Path(folder))
        check(incoming)
        _replace(incoming, target)
    return Fetched(target, source, why)


def kaggle_credentials(environment: Mapping[str, str] = os.environ) -> str | None:
    """Where Kaggle's client would find credentials, or None. Only looks; reads no secret."""
    if environment.get("KAGGLE_API_TOKEN"):
        return "KAGGLE_API_TOKEN"
    if environment.get("KAGGLE_USERNAME") and environment.get("KAGGLE_KEY"):
        return "KAGGLE_USERNAME and KAGGLE_KEY"
    home = Path(environment.get("HOME") or "~").expanduser()
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    folders = [Path(environment.get("KAGGLE_CONFIG_DIR") or home / ".kaggle"), config / "kaggle"]
    files = (folder / name for folder in folders for name in KAGGLE_FILES)
    return next((str(file) for file in files if file.is_file()), None)


def _download(product: Product, folder: Path) -> Path:
    """Download the data set's zip with Kaggle's client and unpack the one file that the product names."""
    slug = product.source.kaggle
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the client talks
            # Imported here: the import authenticates (and makes a folder), which a run on the sample must not try.
            import kaggle  # noqa: PLC0415

            # The import swallows a failure to authenticate; asking again tells why, by ending the process.
            kaggle.api.authenticate()
            kaggle.api.dataset_download_files(slug, path=str(folder), force=True, quiet=True, unzip=False)
    except (Exception, SystemExit) as error:
        raise FetchError(f"kaggle:{slug}: {type(error).__name__}: {error}") from error
    return _unpack(folder / f"{slug.split('/')[-1]}.zip", product.source.file)


def _unpack(archive: Path, name: str) -> Path:
    try:
        with zipfile.ZipFile(archive) as opened:
            if damaged := opened.testzip():
                raise FetchError(f"{archive.name}: {damaged} is damaged")
            if name not in opened.namelist():
                raise FetchError(
                    f"{archive.name}: holds no {name}, but {', '.join(opened.namelist()[:5]) or 'nothing'}"
                )
            return Path(opened.extract(name, archive.parent))
    except (OSError, zipfile.BadZipFile) as error:
        raise FetchError(f"{archive.name}: is not a whole zip file: {error}") from error


def _replace(incoming: Path, target: Path) -> None:
    """Make `incoming` durable, then put it in the place of `target` in one step."""
    with incoming.open("rb") as stream:
        os.fsync(stream.fileno())
    incoming.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
