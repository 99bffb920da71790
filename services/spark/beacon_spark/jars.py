"""The jars that Spark needs beside its own, pinned by their digests in jars.txt.

They come from Maven Central by Ivy, which is among Spark's own jars. IVY_SETTINGS names another file of Ivy's settings,
for a mirror.
"""

import hashlib
import os
import subprocess
import tempfile
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from beacon_core.platform.files import sync
from beacon_core.platform.settings import Settings, SettingsError
from beacon_spark.java import find_java

FETCH_SECONDS = 600


class Jar(NamedTuple):
    """A jar of Maven Central."""

    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def pinned() -> list[Jar]:
    """The jars of jars.txt."""
    lines = (files("beacon_spark") / "jars.txt").read_text(encoding="utf-8").splitlines()
    listed = [line.split() for line in lines if line and not line.startswith("#")]
    return [Jar(sha256, *name.split(":")) for sha256, name in listed]


def find_jars(settings: Settings) -> list[Path]:
    """The files of the jars; raises `SettingsError` for one that is not there, or is another."""
    found = []
    for jar in pinned():
        path = settings.spark_jars / jar.file_name
        if not path.is_file():
            raise SettingsError(f"BEACON_SPARK_JARS: {path} is not there; `make spark-jars` fetches it")
        if _digest(path) != jar.sha256:
            raise SettingsError(f"BEACON_SPARK_JARS: {path} is not the jar that jars.txt pins; delete it, and fetch it")
        found.append(path)
    return found


def fetch(settings: Settings) -> list[Path]:
    """Fetch what is not there yet; raises `SettingsError` without Java, and ValueError for a jar of another digest."""
    java = find_java(settings)
    folder = settings.spark_jars
    folder.mkdir(parents=True, exist_ok=True)
    for jar in pinned():
        path = folder / jar.file_name
        if path.is_file() and _digest(path) == jar.sha256:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as place:
            _retrieve(java, jar, Path(place))
            came = Path(place) / jar.file_name
            if _digest(came) != jar.sha256:
                raise ValueError(f"{jar.file_name} came with the digest {_digest(came)}, jars.txt pins {jar.sha256}")
            sync(came)
            came.replace(path)
    return find_jars(settings)


def _retrieve(java: Path, jar: Jar, folder: Path) -> None:
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise ValueError("pyspark is not installed here: this runs in .venvs/spark")
    ivy = next((Path(spec.origin).parent / "jars").glob("ivy-*.jar"))
    given = os.environ.get("IVY_SETTINGS")
    line = [str(java), "-jar", str(ivy), *(("-settings", given) if given else ()), "-warn"]
    line += ["-dependency", jar.group, jar.artifact, jar.version, "-notransitive", "-confs", "default"]
    line += ["-retrieve", f"{folder}/[artifact]-[revision].[ext]"]
    ended = subprocess.run(  # noqa: S603 - of Spark's own jars
        line, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
    )
    if ended.returncode or not (folder / jar.file_name).is_file():
        raise ValueError(f"{jar.file_name} cannot be fetched: {(ended.stderr or ended.stdout).strip()[-500:]}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
