"""This checkout once more, in a folder of another name."""

import shutil
import subprocess
from pathlib import Path

from beacon_core.platform.settings import ROOT

MAY_LACK = frozenset({"feature_repo/policy.yaml"})
"""What documents name and a checkout may lack: a product needs no policy.yaml, as every limit has a default."""
ENVIRONMENTS = ".venvs"
NOT_OURS = (
    ENVIRONMENTS,
    ".venv",
    ".git",
    ".tools",
    ".beacon",
    ".work",
    "site",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
)


def tracked(*patterns: str) -> list[Path]:
    """The files of the checkout, without what git ignores; new ones too."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def copy_checkout(folder: Path) -> Path:
    """The files of this checkout in `folder`, with the environments of this one, but for what is ours in them."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_OURS))
    here = folder / ".tools" / "here"
    here.parent.mkdir()
    here.write_text(str(folder), encoding="utf-8")
    for stamp in (ROOT / ENVIRONMENTS).glob("*.stamp"):
        _above(ROOT / ENVIRONMENTS / stamp.stem, folder / ENVIRONMENTS / stamp.stem, folder)
        (folder / ENVIRONMENTS / stamp.name).touch()
    return folder


def _above(environment: Path, own: Path, checkout: Path) -> None:
    """An environment that finds our packages in `checkout`, and all else in `environment`."""
    (own / "bin").mkdir(parents=True)
    shutil.copy(environment / "pyvenv.cfg", own)
    for program in (environment / "bin").iterdir():
        link = program.is_symlink() and program.name.startswith("python")
        (own / "bin" / program.name).symlink_to(program.readlink() if link else program)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    site = own / packages.relative_to(environment)
    site.mkdir(parents=True)
    folders = [file.read_text(encoding="utf-8").strip() for file in packages.glob("beacon_*.pth")]
    ours = [str(checkout / Path(folder).relative_to(ROOT)) for folder in folders]
    # A line that begins with `import` is run: no name of a folder can be taken for something else.
    line = f"import site, sys; sys.path.extend({ours!a}); site.addsitedir({str(packages)!a})\n"
    (site / "above.pth").write_text(line, encoding="utf-8")
