"""The jars that Spark needs beside its own, pinned by their digests in jars.txt.

They come from Maven Central by Ivy, which is among Spark's own jars. IVY_SETTINGS names another file of Ivy's settings,
for a mirror.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

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


OWN_LIST = files("beacon_spark") / "jars.txt"
"""What Spark needs."""


def pinned(listing: Traversable = OWN_LIST) -> list[Jar]:
    """The jars of a list."""
    lines = listing.read_text(encoding="utf-8").splitlines()
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
    fetch_all(pinned(), settings.spark_jars, find_java(settings))
    return find_jars(settings)


def fetch_all(jars: Sequence[Jar], folder: Path, java: Path) -> None:
    """Fetch those of some jars that are not in a folder yet; raises ValueError for one of another digest."""
    folder.mkdir(parents=True, exist_ok=True)
    absent = [
        jar for jar in jars if not (folder / jar.file_name).is_file() or _digest(folder / jar.file_name) != jar.sha256
    ]
    if not absent:
        return
    with tempfile.TemporaryDirectory(dir=folder) as place:
        _retrieve(java, absent, Path(place))
        for jar in absent:
            came = Path(place) / jar.file_name
            if _digest(came) != jar.sha256:
                raise ValueError(f"{jar.file_name} came with the digest {_digest(came)}, its list pins {jar.sha256}")
            sync(came)
            came.replace(folder / jar.file_name)


def _retrieve(java: Path, jars: Sequence[Jar], folder: Path) -> None:
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise ValueError("pyspark is not installed here: this runs in .venvs/spark")
    ivy = next((Path(spec.origin).parent / "jars").glob("ivy-*.jar"))
    wanted = folder / "ivy.xml"
    wanted.write_text(_ivy_file(jars), encoding="utf-8")
    given = os.environ.get("IVY_SETTINGS")
    line = [str(java), "-jar", str(ivy), *(("-settings", given) if given else ()), "-warn", "-ivy", str(wanted)]
    line += ["-confs", "default", "-retrieve", f"{folder}/[artifact]-[revision].[ext]"]
    ended = subprocess.run(  # noqa: S603 - of Spark's own jars
        line, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
    )
    absent = [jar.file_name for jar in jars if not (folder / jar.file_name).is_file()]
    if ended.returncode or absent:
        told = (ended.stderr or ended.stdout).strip()[-500:]
        raise ValueError(f"{', '.join(absent) or 'some jars'} cannot be fetched: {told}")


def _ivy_file(jars: Sequence[Jar]) -> str:
    """What Ivy is to bring: these jars, and nothing that they need in turn."""
    root = ElementTree.Element("ivy-module", version="2.0")
    ElementTree.SubElement(root, "info", organisation="beacon", module="jars")
    ElementTree.SubElement(ElementTree.SubElement(root, "configurations"), "conf", name="default")
    dependencies = ElementTree.SubElement(root, "dependencies")
    for jar in jars:
        names = {"org": jar.group, "name": jar.artifact, "rev": jar.version, "transitive": "false"}
        ElementTree.SubElement(dependencies, "dependency", names, conf="default->default")
    return ElementTree.tostring(root, encoding="unicode")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
