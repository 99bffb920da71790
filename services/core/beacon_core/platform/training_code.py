"""The owner's training code: the files of the folder `training` beside product.yaml (training.entry_point)."""

from pathlib import Path

from beacon_core.domain.errors import ConfigurationError

CODE_FOLDER = "training"
MOST_FILES, MOST_BYTES = 200, 500_000
"""In a cluster the code lies in a ConfigMap, beside product.yaml."""
KEY = "training.entry_point"


class TrainingCodeError(ConfigurationError):
    """The folder cannot be read, or breaks a rule; the message names it and the rule."""


def code_files(product: Path) -> dict[str, str]:
    """The texts of the files by their paths in the folder, in order; raises `TrainingCodeError`.

    What begins with a dot and compiled Python is left out.
    """
    folder = product.parent / CODE_FOLDER
    if not folder.is_dir():
        raise TrainingCodeError(f"{product}: {KEY}: its code must lie in the folder {CODE_FOLDER} beside product.yaml")
    found: dict[str, str] = {}
    size = 0
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if not file.is_file() or file.suffix == ".pyc" or any(part.startswith(".") for part in name.parts):
            continue
        size += file.stat().st_size
        if len(found) == MOST_FILES or size > MOST_BYTES:
            raise TrainingCodeError(
                f"{product}: {KEY}: the folder {CODE_FOLDER} must have at most {MOST_FILES} files and "
                f"{MOST_BYTES // 1000} KB. Data is no code: the estimator gets the rows"
            )
        try:
            found[name.as_posix()] = file.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError) as error:
            raise TrainingCodeError(
                f"{product}: {KEY}: {CODE_FOLDER}/{name} must be a text in UTF-8 that can be read: {error}"
            ) from error
    return found
