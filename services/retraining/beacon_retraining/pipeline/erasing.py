"""Erasure of an entity, or of predictions, from the training sets: the pipeline's files, DVC's cache and its remote.

DVC names an object by its digest, so an object without some rows would be another one. Those that hold rows of the
subject are deleted, in the history of all runs. The next retraining makes its own anew, and the next push brings them
to the remote; a pull before that says which file is missing.
"""

import io
import json
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from beacon_core.data.database import Engine
from beacon_core.data.erasure import ErasedPlace, Subject
from beacon_core.data.run_lock import only_one
from beacon_core.domain.product import Product
from beacon_core.feature_store.erasing import erase_from_parquet, erase_from_shared, rows_of
from beacon_core.model_package.manifest import digest
from beacon_core.platform.settings import Settings
from beacon_retraining.data.fetch import SOURCE_FILE, TABLE_FILE, RawFileInfo
from beacon_retraining.data.offline import targets_file
from beacon_retraining.files import write_json
from beacon_retraining.pipeline.context import RAW
from beacon_retraining.pipeline.dvc_objects import FOLDER, ObjectStorage
from beacon_retraining.pipeline.remote import CACHE
from beacon_retraining.pipeline.stages import JOB
from beacon_retraining.pipeline.workspace import folder_of

PARQUET = b"PAR1"


def erase(settings: Settings, product: Product, engine: Engine, subject: Subject, *, dry_run: bool) -> ErasedPlace:
    """Erase the subject; raises `BusyError` while a retraining is at work, and what a file system raises."""
    with only_one(engine, settings.home / "run", JOB, "a retraining is at work"):
        folder = folder_of(settings)
        table = folder / RAW / TABLE_FILE
        files = [file for file in folder.rglob("*.parquet") if ".dvc" not in file.relative_to(folder).parts]
        removed = dict.fromkeys(("training sets", "DVC's cache", "DVC's remote"), 0)
        remains = {}
        targets = erase_from_shared(targets_file(settings), product, subject, dry_run=dry_run)
        removed["training sets"] += 0 if targets is None else int(targets.sum())
        for file in sorted(files):
            gone = erase_from_parquet(file, product, subject, dry_run=dry_run)
            if gone is not None:
                removed["training sets"] += int(gone.sum())
                if file == table and not dry_run:
                    _describe(table)
                if file == table and gone.any():
                    rows = "1 row" if gone.sum() == 1 else f"{int(gone.sum())} rows"
                    found = f"{_source(table)} had {rows} of it when it was last read"
                    remains["source"] = [f"{found}: remove them there, or the next retraining reads them again"]
        removed["DVC's cache"] = _erase_objects(ObjectStorage(folder / CACHE), product, subject, dry_run)
        removed["DVC's remote"] = _erase_objects(ObjectStorage(settings.dvc_address), product, subject, dry_run)
    return ErasedPlace(removed, remains)


def _source(table: Path) -> str:
    file = table.with_name(SOURCE_FILE)
    return msgspec.json.decode(file.read_bytes(), type=RawFileInfo).source if file.is_file() else "the source"


def _describe(table: Path) -> None:
    """Let source.json describe the table as it is now."""
    file = table.with_name(SOURCE_FILE)
    if file.is_file():
        content, info = table.read_bytes(), msgspec.json.decode(file.read_bytes(), type=RawFileInfo)
        write_json(file, msgspec.structs.replace(info, sha256=digest(content), size=len(content)))


def _erase_objects(storage: ObjectStorage, product: Product, subject: Subject, dry_run: bool) -> int:
    """Delete the objects that hold rows of the subject, and the lists of folders that name them; counts the rows."""
    rows, gone, lists = 0, set(), {}
    for name in storage.digests():
        content = storage.file(storage.path(name)) or b""
        if name.endswith(FOLDER):
            lists[name] = {entry["md5"] for entry in json.loads(content or b"[]")}
        elif content.startswith(PARQUET):
            found = int(rows_of(pq.read_table(io.BytesIO(content)), product, subject).sum())
            rows += found
            gone |= {name} if found else set()
    # DVC takes a folder's files for pushed where it finds their list. The lists go first: they can be found again.
    listing = {name for name, listed in lists.items() if listed & gone}
    if not dry_run:
        for name in (*sorted(listing), *sorted(gone)):
            storage.remove(name)
    return rows
