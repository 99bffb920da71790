"""Files that are whole or not there: everything that a stage leaves is written beside and renamed."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pandas as pd


@contextlib.contextmanager
def draft_of(file: Path) -> Iterator[Path]:
    """A file to write beside `file`; it takes its place, durably and in one step, or is gone when the block fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.draft")
    try:
        yield draft
        durable_replace(draft, file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def durable_replace(draft: Path, target: Path) -> None:
    """Make `draft` durable, then put it in the place of `target` in one step."""
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    draft.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_bytes(file: Path, content: bytes) -> None:
    """Write `content` to `file`, durably and in one step."""
    with draft_of(file) as draft:
        draft.write_bytes(content)


def write_json(file: Path, value: object) -> None:
    """Write `value` as JSON for people and machines; equal values give equal bytes."""
    encoded = msgspec.json.encode(value, order="deterministic")
    write_bytes(file, msgspec.json.format(encoded, indent=2) + b"\n")


def write_table(file: Path, frame: pd.DataFrame) -> None:
    """Write `frame` as Parquet; equal frames give equal bytes."""
    with draft_of(file) as draft:
        frame.to_parquet(draft, index=False)
