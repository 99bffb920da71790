"""Fetch: the product's table, read from its sources and kept as one Parquet file.

A Kaggle data set is downloaded where there are credentials; else its bundled sample is read. A new table is checked
first, and then replaces the last good one in one step.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from beacon_core.domain.product import Product
from beacon_core.domain.source import Source
from beacon_core.model_package.manifest import digest
from beacon_core.platform.files import replace
from beacon_core.platform.settings import Settings, clean_credentials
from beacon_core.sources.errors import FetchError, FetchRefusedError
from beacon_core.sources.rows import STORED
from beacon_core.sources.table import as_file, load_table
from beacon_retraining.data.archive import max_file_bytes, unpack
from beacon_retraining.data.kaggle_credentials import find_credentials
from beacon_retraining.data.kaggle_download import DownloadFailure
from beacon_retraining.files import write_json

SAMPLE = "sample"
TRIES = 5
LONGEST_WAIT_SECONDS = 60.0
TABLE_FILE = STORED.name
SOURCE_FILE = "source.json"


class RawFileInfo(msgspec.Struct, frozen=True):
    """source.json, beside the table: where it is from, its file's sha256 and size in bytes, its sources' formats.

    `unlabelled` of its rows have no target.
    `source` is `sample`, `kaggle:OWNER/NAME`, or the places of the sources, joined by ` + `.
    """

    source: str
    sha256: str
    size: int
    format: tuple[str, ...] = ()
    unlabelled: int = 0


class FetchResult(msgspec.Struct, frozen=True):
    """The table's file now in force, its source and why that source was used."""

    file: Path
    source: str
    why: str


def read_source(folder: Path) -> RawFileInfo:
    """The source of the table in `folder`; raises `FetchError` when the bytes have changed since."""
    info = msgspec.json.decode((folder / SOURCE_FILE).read_bytes(), type=RawFileInfo)
    content = (folder / TABLE_FILE).read_bytes()
    if digest(content) != info.sha256:
        raise FetchError(f"{folder / TABLE_FILE}: is not the file that was fetched from {info.source}")
    return info


def fetch(
    settings: Settings,
    product: Product,
    folder: Path,
    check: Callable[[pa.Table], object],
    environment: Mapping[str, str] = os.environ,
) -> FetchResult:
    """Fetch the table and its source into `folder`; `check` raises for a bad one.

    Raises `FetchError`, `DataError` or what `check` raises; then `folder` is as it was. An unchanged table changes
    nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / TABLE_FILE
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder.parent) as incoming_folder:
        incoming = Path(incoming_folder) / TABLE_FILE
        sources, place, why = _resolve(settings, product, Path(incoming_folder), environment)
        loaded = load_table(product, sources=sources)
        check(loaded.table)
        pq.write_table(loaded.table, incoming)
        content = incoming.read_bytes()
        unlabelled = loaded.table[product.target.name].null_count
        info = RawFileInfo(place, digest(content), len(content), loaded.descriptions, unlabelled)
        replace(incoming, target)
        write_json(folder / SOURCE_FILE, info)
    return FetchResult(target, place, "; ".join(filter(None, (why, *loaded.descriptions))))


def _resolve(
    settings: Settings, product: Product, folder: Path, environment: Mapping[str, str]
) -> tuple[tuple[Source, ...], str, str]:
    """The sources with Kaggle's data downloaded, where they are from, and why."""
    if not any(source.kind == "kaggle" for source in product.sources):
        return product.sources, " + ".join(source.name for source in product.sources), ""
    environment = dict(environment)
    clean_credentials(environment)
    credentials = find_credentials(environment)
    if credentials is None:
        return product.sources, SAMPLE, "no Kaggle credentials are set; using the sample of product.yaml"
    sources = tuple(
        as_file(source, _from_kaggle(settings, product, source, folder / str(number), environment, credentials))
        if source.kind == "kaggle"
        else source
        for number, source in enumerate(product.sources)
    )
    place = " + ".join(source.name for source in product.sources)
    return sources, place, f"Kaggle credentials from {credentials}"


def _from_kaggle(
    settings: Settings,
    product: Product,
    source: Source,
    folder: Path,
    environment: Mapping[str, str],
    credentials: str,
) -> Path:
    """Download and unpack, with retries of transient failures.

    Raises `FetchError`, or `FetchRefusedError` for a permanent failure.
    """
    folder.mkdir()
    name = source.name
    number = 1
    while (failure := _download(settings, source, folder, environment)) is not None:
        if 400 <= failure.status < 500 and failure.status not in {408, 429}:
            raise FetchRefusedError(f"{name}: {failure.message}, with {credentials}")
        if failure.status < 0 or number == TRIES:
            raise FetchError(f"{name}: {failure.message}, after {number} tries")
        wait = 2.0 ** (number - 1) if failure.retry_after is None else failure.retry_after
        if wait > LONGEST_WAIT_SECONDS:
            raise FetchError(f"{name}: {failure.message}; Retry-After is {wait:.0f} s, which is left to another run")
        time.sleep(wait)
        number += 1
    archive = folder / f"{source.place.split('/')[-1]}.zip"
    return unpack(archive, source.file, max_file_bytes(product))


def _download(
    settings: Settings, source: Source, folder: Path, environment: Mapping[str, str]
) -> DownloadFailure | None:
    """One attempt, with a time limit."""
    command = [sys.executable, "-m", "beacon_retraining.data.kaggle_download", source.place, str(folder)]
    limit = settings.kaggle_timeout_seconds
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, timeout=limit, check=False)  # noqa: S603 - this Python, and a module of ours
    except subprocess.TimeoutExpired:
        return DownloadFailure(-1, f"the download was not done after {limit:g} s")
    if done.returncode == 0:
        return None
    last = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(last, type=DownloadFailure)
    except msgspec.DecodeError:
        return DownloadFailure(-1, f"Kaggle's client ended with status {done.returncode}")
