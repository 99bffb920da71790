"""Find secrets in all that git has or would take: `python -m tools.secret_scan`.

Kingfisher's own rules and those of secret_rules.yaml; nothing is sent anywhere. A line that only looks like a secret
ends with `kingfisher:ignore` in a comment.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
RULES = Path(__file__).with_name("secret_rules.yaml")
CACHE = ROOT / ".tools" / "kingfisher"
"""Rules as they were compiled the last time: compiling takes seconds."""
NOTHING, FOUND = 0, 200
OFFLINE = ("--no-validate", "--no-update-check")


class Finding(NamedTuple):
    """A place that looks like a secret, and the rule that says so."""

    path: str
    line: int
    rule: str


class SecretScanError(Exception):
    """Git or Kingfisher failed: nothing is known about secrets."""


def tracked(folder: Path) -> list[Path]:
    """The files that git has or would take, relative to the folder."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = _run(command, folder, {NOTHING}).split("\0")
    files = {Path(name) for name in listed if name}
    return sorted(file for file in files if (folder / file).is_file() and not (folder / file).is_symlink())


def scan(folder: Path) -> list[Finding]:
    """What looks like a secret in the files of git, by path and line; raises `SecretScanError`."""
    # A copy, as Kingfisher heeds no .gitignore, and environments of gigabytes lie beside the files.
    with tempfile.TemporaryDirectory(prefix="beacon-secrets-") as name:
        copy = Path(name)
        for file in tracked(folder):
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file, copy / file)
        command = [
            sys.executable,
            "-m",
            "kingfisher",
            "scan",
            ".",
            "--git-history=none",
            "--confidence=low",
            "--redact",
        ]
        command += [*OFFLINE, "--format=jsonl", "--no-dedup", f"--rules-path={RULES}", f"--rule-cache-dir={CACHE}"]
        return sorted({found for line in _run(command, copy, {NOTHING, FOUND}).splitlines() if (found := _read(line))})


def _read(line: str) -> Finding | None:
    """A finding; None for the other lines, which say what was scanned."""
    said = json.loads(line)
    if "finding" not in said:
        return None
    place = said["finding"]
    return Finding(str(Path(place["path"])), int(place["line"]), said["rule"]["id"])


def _run(command: list[str], folder: Path, good: set[int]) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - git, and a locked package
    if done.returncode not in good:
        raise SecretScanError(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def main(folder: Path = ROOT) -> int:
    """Print what was found; returns the exit status."""
    found = scan(folder)
    for path, line, rule in found:
        print(f"{path}:{line}: looks like a secret: {rule}")
    if found:
        print("take each out and replace it; a line that holds none ends with # kingfisher:ignore", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
