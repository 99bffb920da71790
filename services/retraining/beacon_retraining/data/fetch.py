"""Fetch: the raw data file, from Kaggle when there are credentials, else the bundled sample.

A new file is checked first, and then replaces the last good one in one step.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import digest
from beacon_core.platform.files import replace
from beacon_core.platform.settings import Settings, clean_credentials
from beacon_retraining.data.archive import max_file_bytes, unpack
from beacon_retraining.data.kaggle_credentials import find_credentials
from beacon_retraining.data.kaggle_download import DownloadFailure
from beacon_retraining.errors import FetchError, FetchRefusedError
from beacon_retraining.files import write_json

SAMPLE = "sample"
TRIES = 5
LONGEST_WAIT_SECONDS = 60.0
SOURCE_FILE = "source.json"


class RawFileInfo(msgspec.Struct, frozen=True):
    """source.json, beside the raw file: its source (`sample` or `kaggle:OWNER/NAME`), sha256 and size in bytes."""

    source: str
    sha256: str
    size: int


class FetchResult(msgspec.Struct, frozen=True):
    """The raw file now in force, its source and why that source was used."""

    file: Path
    source: str
    why: str


def read_source(folder: Path, product: Product) -> RawFileInfo:
    """The source of the raw file in `folder`; raises `FetchError` when the bytes have changed since."""
    info = msgspec.json.decode((folder / SOURCE_FILE).read_bytes(), type=RawFileInfo)
    content = (folder / product.source.file).read_bytes()
    if digest(content) != info.sha256:
        raise FetchError(f"{folder / product.source.file}: is not the file that was fetched from {info.source}")
    return info


def fetch(
    settings: Settings,
    product: Product,
    folder: Path,
    check: Callable[[Path], object],
    environment: Mapping[str, str] = os.environ,
) -> FetchResult:
    """Fetch the raw file and its source into `folder`; `check` raises for a bad one.

    Raises `FetchError` or what `check` raises; then `folder` is as it was. An unchanged file changes nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / product.source.file
    environment = dict(environment)
    clean_credentials(environment)
    credentials = find_credentials(environment)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder.parent) as incoming_folder:
        if credentials is None:
            source, why = SAMPLE, "no Kaggle credentials are set; using the sample of product.yaml"
            incoming = Path(shutil.copyfile(product.sample_path, Path(incoming_folder) / product.source.file))
        else:
            source, why = f"kaggle:{product.source.kaggle}", f"Kaggle credentials from {credentials}"
            incoming = _from_kaggle(settings, product, Path(incoming_folder), environment, credentials)
        check(incoming)
        content = incoming.read_bytes()
        info = RawFileInfo(source, digest(content), len(content))
        replace(incoming, target)
        write_json(folder / SOURCE_FILE, info)
    return FetchResult(target, source, why)


def _from_kaggle(
    settings: Settings, product: Product, folder: Path, environment: Mapping[str, str], credentials: str
) -> Path:
    """Download and unpack, with retries of transient failures.

    Raises `FetchError`, or `FetchRefusedError` for a permanent failure.
    """
    name = f"kaggle:{product.source.kaggle}"
    number = 1
    while (failure := _download(settings, product, folder, environment)) is not None:
        if 400 <= failure.status < 500 and failure.status not in {408, 429}:
            raise FetchRefusedError(f"{name}: {failure.message}, with {credentials}")
        if failure.status < 0 or number == TRIES:
            raise FetchError(f"{name}: {failure.message}, after {number} tries")
        wait = 2.0 ** (number - 1) if failure.retry_after is None else failure.retry_after
        if wait > LONGEST_WAIT_SECONDS:
            raise FetchError(f"{name}: {failure.message}; Retry-After is {wait:.0f} s, which is left to another run")
        time.sleep(wait)
        number += 1
    archive = folder / f"{product.source.kaggle.split('/')[-1]}.zip"
    return unpack(archive, product.source.file, max_file_bytes(product))


def _download(
    settings: Settings, product: Product, folder: Path, environment: Mapping[str, str]
) -> DownloadFailure | None:
    """One attempt, with a time limit."""
    command = [sys.executable, "-m", "beacon_retraining.data.kaggle_download", product.source.kaggle, str(folder)]
    limit = settings.kaggle_timeout_seconds
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, timeout=limit, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return DownloadFailure(-1, f"the download was not done after {limit:g} s")
    if done.returncode == 0:
        return None
    last = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(last, type=DownloadFailure)
    except msgspec.DecodeError:
        return DownloadFailure(-1, f"Kaggle's client ended with status {done.returncode}")
