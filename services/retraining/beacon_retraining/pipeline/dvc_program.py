"""DVC's program, `python -m beacon_retraining.pipeline.dvc_program`: in the current folder, else in the workspace.

DVC formats its progress by `str.format` over the cache's path: a `{` in the path would end every command.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from dvc.cli import main
from dvc_data.hashfile import _progress

from beacon_core.platform.settings import SettingsError, load_settings
from beacon_retraining.pipeline.collector import collect_rarely
from beacon_retraining.pipeline.workspace import folder_of


class DvcProgress(_progress.QueryingProgress):
    """DVC's progress, with braces in a name left as they are."""

    def __init__(
        self, iterable: Any = None, total: int | None = None, name: str | None = None, phase: str = "Querying"
    ) -> None:
        plain = name and name.replace("{", "{{").replace("}", "}}")
        super().__init__(iterable, total, plain, phase)  # type: ignore[no-untyped-call]


def run(arguments: list[str]) -> int:
    """Run DVC; its exit status."""
    _progress.QueryingProgress = DvcProgress  # type: ignore[misc]
    if not Path(".dvc").is_dir():
        try:
            folder = folder_of(load_settings())
        except SettingsError as error:
            raise SystemExit(f"dvc: {error}") from None
        with contextlib.suppress(FileNotFoundError):  # nothing ran yet; DVC reports it
            os.chdir(folder)
    return int(main(arguments))


if __name__ == "__main__":
    collect_rarely()
    sys.exit(run(sys.argv[1:]))
