"""Fetch: the raw data file, from Kaggle when there are credentials, else the bundled sample.

A new file is checked where it landed and only then takes the place of the last good one, in one step.
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
from beacon_retraining.data.archive import most_bytes, unpack
from beacon_retraining.data.kaggle_credentials import find_credentials
from beacon_retraining.data.kaggle_download import Failure
from beacon_retraining.errors import FetchError, FetchRefusedError
from beacon_retraining.files import write_json

SAMPLE = "sample"
TRIES = 5
LONGEST_WAIT_SECONDS = 60.0
SOURCE_FILE = "source.json"


class RawFacts(msgspec.Struct, frozen=True):
    """What lies beside the raw file: its source (`sample` or `kaggle:OWNER/NAME`), sha256 and size in bytes."""

    source: str
    sha256: str
    size: int


class Fetched(msgspec.Struct, frozen=True):
    """The raw file now in force, its source and why that source was used."""

    file: Path
    source: str
    why: str


def read_source(folder: Path, product: Product) -> RawFacts:
    """The facts of the raw file in `folder`; raises `FetchError` when the bytes are no longer those that came."""
    facts = msgspec.json.decode((folder / SOURCE_FILE).read_bytes(), type=RawFacts)
    content = (folder / product.source.file).read_bytes()
    if digest(content) != facts.sha256:
        raise FetchError(f"{folder / product.source.file}: is not the file that was fetched from {facts.source}")
    return facts


def fetch(
    settings: Settings,
    product: Product,
    folder: Path,
    check: Callable[[Path], object],
    environment: Mapping[str, str] = os.environ,
) -> Fetched:
    """Bring the raw file and its facts into `folder`; `check` raises for a bad one.

    Raises `FetchError` or what `check` raises; then `folder` is as it was. A file that came again changes nothing.
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
        facts = RawFacts(source, digest(content), len(content))
        replace(incoming, target)
        write_json(folder / SOURCE_FILE, facts)
    return Fetched(target, source, why)


def _from_kaggle(
    settings: Settings, product: Product, folder: Path, environment: Mapping[str, str], credentials: str
) -> Path:
    """Download and unpack, trying again what may pass.

    Raises `FetchError`, or `FetchRefusedError` for what will not.
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
            raise FetchError(f"{name}: {failure.message}; it asks to wait {wait:.0f} s, so another run should try")
        time.sleep(wait)
        number += 1
    archive = folder / f"{product.source.kaggle.split('/')[-1]}.zip"
    return unpack(archive, product.source.file, most_bytes(product))


def _download(settings: Settings, product: Product, folder: Path, environment: Mapping[str, str]) -> Failure | None:
    """One try, ended when its time is up."""
    command = [sys.executable, "-m", "beacon_retraining.data.kaggle_download", product.source.kaggle, str(folder)]
    limit = settings.kaggle_timeout_seconds
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, timeout=limit, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return Failure(-1, f"the download was not done after {limit:g} s")
    if done.returncode == 0:
        return None
    last = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(last, type=Failure)
    except msgspec.DecodeError:
        return Failure(-1, f"Kaggle's client ended with status {done.returncode}")
