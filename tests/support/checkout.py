"""This checkout once more, in a folder of another name."""

import shutil
from pathlib import Path

from beacon_core.settings import ROOT

ENVIRONMENTS = (".venvs", ".venv")
NOT_OURS = (*ENVIRONMENTS, ".git", ".tools", ".beacon", ".work", "__pycache__", ".*_cache", ".hypothesis")


def copy_checkout(folder: Path) -> Path:
    """The files of this checkout in `folder`, with the environments of this one."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_OURS))
    for environments in ENVIRONMENTS:
        (folder / environments).symlink_to(ROOT / environments)
    return folder
