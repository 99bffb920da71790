"""A checkout of Beacon: where it is, its environments, and the variables by which its commands find a product."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from beacon_cli.errors import CliError
from beacon_cli.exit_statuses import TRY_AGAIN
from beacon_cli.terminal import Stages

MARKS = ("Makefile", "uv.lock", "services/core/pyproject.toml")
"""What a checkout of Beacon has."""
PRODUCT_FILE = "product.yaml"
NAME = re.compile(r"^name[: \"]+([^: \"\n]+)", re.MULTILINE)
OWN_CODE = re.compile(r"^[^#\n]*entry_point:", re.MULTILINE)


class Project:
    """The checkout in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def python(self, environment: str) -> Path:
        """The interpreter of an environment."""
        return self.folder / ".venvs" / environment / "bin" / "python"

    def is_current(self, environment: str) -> bool:
        """Whether an environment was built for the lock as it is, and in this folder; as the Makefile decides."""
        stamp = self.folder / ".venvs" / f"{environment}.stamp"
        wanted = [
            self.folder / "uv.lock",
            self.folder / "pyproject.toml",
            *self.folder.glob("services/*/pyproject.toml"),
        ]
        try:
            built = stamp.stat().st_mtime
            here = (self.folder / ".tools" / "here").read_text(encoding="utf-8")
        except OSError:
            return False
        is_newer = all(file.stat().st_mtime <= built for file in wanted)
        return is_newer and here == str(self.folder) and self.python(environment).exists()

    def build(self, environments: Iterable[str], stages: Stages) -> None:
        """Build the environments that are not current, by make; raises `CliError`."""
        stale = [name for name in dict.fromkeys(environments) if not self.is_current(name)]
        if not stale:
            return
        make = shutil.which("make")
        if make is None:
            raise CliError("make is missing, which builds the environments: install make")
        given = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        with stages.working("environments"):
            for number, name in enumerate(stale):
                stages.progress(name, number, len(stale), "stages")
                command = [make, "--no-print-directory", "-C", str(self.folder), f".venvs/{name}.stamp"]
                done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)  # noqa: S603 - a command of our own
                if done.returncode:
                    reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[0]
                    raise CliError(f"the environment {name} cannot be built: {reason}", TRY_AGAIN)
                for line in done.stdout.splitlines():
                    stages.line(line)

    def variables(self, product: Path | None, given: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The variables of a command: as given, and where a product is named, its file and the folder of its state."""
        found = dict(given)
        if product is None:
            return found
        file = product / PRODUCT_FILE if product.is_dir() else product
        if not file.is_file():
            raise CliError(
                f"--product {product} is neither a product.yaml nor a folder with one; `beacon new` writes it"
            )
        name = NAME.search(file.read_text(encoding="utf-8", errors="replace"))
        home = self.folder / ".beacon" / "products" / (name[1] if name else "")
        found["BEACON_PRODUCT"] = str(file)
        if not given.get("BEACON_HOME"):
            found["BEACON_HOME"] = str(home)
        return found

    def has_own_code(self, variables: Mapping[str, str]) -> bool:
        """Whether the product has training code of its own; a comment taken for it costs an environment at most."""
        named = variables.get("BEACON_PRODUCT")
        file = Path(named) if named else self.folder / "feature_repo" / PRODUCT_FILE
        try:
            return OWN_CODE.search(file.read_text(encoding="utf-8", errors="replace")) is not None
        except OSError:
            return False


def find_project(given: Path | None) -> Project:
    """The checkout that was named, else the one around the working folder, else that of this file.

    Raises `CliError` where there is none: a wheel alone is a client.
    """
    if given is not None:
        if not _is_checkout(given):
            raise CliError(f"--project {given} is no checkout of Beacon: it lacks {_lacking(given)}")
        return Project(given.resolve())
    here = Path.cwd()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        if _is_checkout(folder):
            return Project(folder)
    raise CliError(
        "this needs a checkout of Beacon: start it in one, or name it by --project FOLDER "
        "(`beacon predict` and `beacon explain` need none)"
    )


def _is_checkout(folder: Path) -> bool:
    return not _lacking(folder)


def _lacking(folder: Path) -> str:
    return next((name for name in MARKS if not (folder / name).is_file()), "")
