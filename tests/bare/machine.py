"""A container as a machine of its own, by docker, podman or buildah."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from beacon_core.platform.settings import ROOT

BUILDER = os.environ.get("BUILDER", "docker")
IMAGE = "localhost/beacon-bare"
HERE = Path(__file__).parent
NOT_HANDED_ON = ("BEACON_", "MAKE", "MFLAGS", "UV_", "VIRTUAL_ENV", "PYTHON")


class Machine:
    """A container that stays until it is removed; what a command leaves in it the next one finds."""

    def __init__(self, name: str) -> None:
        self._name = name

    def command(
        self, user: str, words: Sequence[str], variables: Mapping[str, str], *, is_terminal: bool = False
    ) -> list[str]:
        """The command line that runs `words` in it as `user`; with `is_terminal` on a terminal that this one has."""
        terminal = (["--tty"] if _is_buildah() else ["--interactive", "--tty"]) if is_terminal else []
        options = os.environ.get("RUN_OPTIONS", "").split()
        start = [BUILDER, "run", *options] if _is_buildah() else [BUILDER, "exec"]
        end = ["--"] if _is_buildah() else []
        given = [f"{name}={value}" for name, value in variables.items()]
        return [*start, *terminal, "--user", user, self._name, *end, "env", *given, *words]

    def run(self, user: str, command: str, seconds: float, **variables: str) -> str:
        """What bash prints for `command` as `user`, in the user's home; an AssertionError if it fails."""
        done = subprocess.run(
            self.command(user, ["bash", "-c", f"cd && {command}"], variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-20_000:]
        return done.stdout

    def clone(self, user: str, target: str, *options: str) -> None:
        """This repository's last commit, cloned for `user` into the folder `target`."""
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder) / "beacon"
            subprocess.run(["git", "clone", "--quiet", *options, ROOT, clone], check=True)
            if _is_buildah():
                _call("copy", "--quiet", "--chown", f"{user}:{user}", self._name, str(clone), target)
            else:
                _call("cp", str(clone), f"{self._name}:{target}")
                self.run("root", f"chown -R {user}:{user} {target}", 60)


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """A new machine with nothing but Python, make and git; gone afterwards."""
    base = os.environ.get("BARE_IMAGE", "python:3.11-slim-bookworm")
    options = os.environ.get("BUILD_OPTIONS", "").split()
    _call("build", *options, "--build-arg", f"BASE={base}", "-t", IMAGE, str(HERE))
    if _is_buildah():
        name = _call("from", "--pull=never", IMAGE)
    else:
        options = os.environ.get("RUN_OPTIONS", "").split()
        name = _call("run", "--detach", "--init", *options, IMAGE, "sleep", "infinity")
    try:
        yield Machine(name)
    finally:
        _call(*(["rm"] if _is_buildah() else ["rm", "--force"]), name)


def _is_buildah() -> bool:
    return Path(BUILDER).name == "buildah"


def _call(*arguments: str) -> str:
    """The last line of what the builder prints, which is the name of what it made."""
    done = subprocess.run([BUILDER, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{BUILDER} {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return (done.stdout.splitlines() or [""])[-1].strip()
