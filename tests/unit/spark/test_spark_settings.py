"""The settings of the engine: what is refused before anything starts, and with which words."""

from pathlib import Path

import pytest

from beacon_core.platform.engine import LOCAL, open_engine
from beacon_core.platform.settings import Settings, SettingsError, load_settings
from beacon_spark.jars import find_jars, pinned
from beacon_spark.java import find_java
from beacon_spark.options import PYTHON, options_of

LAKE = {"BEACON_LAKE": "/lake", "BEACON_LOG_STORES": "lake"}
SPARK = LAKE | {"BEACON_ENGINE": "spark"}


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"BEACON_ENGINE": "flink"}, "BEACON_ENGINE: Invalid enum value 'flink'"),
        ({"BEACON_ENGINE": "spark"}, "BEACON_ENGINE is spark.*BEACON_LOG_STORES must begin with lake"),
        (SPARK | {"BEACON_LOG_STORES": "sql,lake"}, "BEACON_LOG_STORES must begin with lake"),
        (SPARK | {"BEACON_SPARK_MASTER": "local[0]"}, "BEACON_SPARK_MASTER: is not local"),
        (SPARK | {"BEACON_SPARK_MASTER": "spark://host"}, "BEACON_SPARK_MASTER: is not"),
        (SPARK | {"BEACON_SPARK_MASTER": "mesos://host:1"}, "BEACON_SPARK_MASTER: is not"),
        (SPARK | {"BEACON_SPARK_CONF": "/"}, "BEACON_SPARK_CONF: / is a folder"),
    ],
)
def test_a_wrong_value_is_refused_with_its_setting(given: dict[str, str], rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        load_settings(given)


@pytest.mark.parametrize(
    "master", ["local", "local[*]", "local[2]", "local[2, 3]", "spark://a:7077,b:7077", "k8s://https://h:6443", "yarn"]
)
def test_spark_takes_its_masters(master: str) -> None:
    settings = load_settings(SPARK | {"BEACON_SPARK_MASTER": master})
    assert options_of(settings)["spark.master"] == master


def test_an_environment_without_spark_says_where_it_is() -> None:
    with (
        pytest.raises(SettingsError, match=r"make \.venvs/other\.stamp"),
        open_engine(
            Settings(engine="other"),
            "test",  # type: ignore[arg-type]
        ),
    ):
        pass
    with open_engine(Settings(), "test") as jobs:
        assert jobs is LOCAL


def test_the_users_options_win(tmp_path: Path) -> None:
    file = tmp_path / "spark.conf"
    file.write_text("# mine\n\nspark.driver.memory 4g\nspark.log.level=INFO\n  spark.pyspark.python:  /opt/python \n")
    found = options_of(Settings(spark_conf=file))
    assert found["spark.driver.memory"] == "4g"
    assert found["spark.log.level"] == "INFO"
    assert found[PYTHON] == "/opt/python"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("driver.memory 4g", "line 1: is not `spark.NAME VALUE`"),
        ("spark.a 1\nspark.b", "line 2: is not"),
        ("spark.master yarn", "BEACON_SPARK_MASTER says"),
    ],
)
def test_a_file_that_is_not_sparks_is_refused(tmp_path: Path, text: str, rule: str) -> None:
    file = tmp_path / "spark.conf"
    file.write_text(text)
    with pytest.raises(SettingsError, match=rule):
        options_of(Settings(spark_conf=file))
    with pytest.raises(SettingsError, match="cannot be read"):
        options_of(Settings(spark_conf=tmp_path / "none.conf"))


def java(folder: Path, version: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n")
    program.chmod(0o755)
    return program


def test_a_java_is_found_by_the_setting_the_variable_or_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (java(tmp_path / name, text) for name, text in (("a", "17.0.2"), ("b", "21"), ("c", "17.0.1")))
    monkeypatch.setenv("PATH", str(three.parent), prepend=":")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert find_java(Settings()) == three
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "b"))
    assert find_java(Settings()) == two
    assert find_java(Settings(java_home=tmp_path / "a")) == one


def test_a_missing_or_old_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SettingsError, match=r"BEACON_JAVA_HOME: it is not set.*openjdk-17-jre-headless"):
        find_java(Settings())
    with pytest.raises(SettingsError, match=r"BEACON_JAVA_HOME: .*java is not there"):
        find_java(Settings(java_home=tmp_path / "none"))


def test_a_java_of_another_version_is_refused(tmp_path: Path) -> None:
    java(tmp_path, "11.0.20")
    with pytest.raises(SettingsError, match="is Java 11; Spark needs Java 17 or 21"):
        find_java(Settings(java_home=tmp_path))


def test_jars_are_pinned_and_checked(tmp_path: Path) -> None:
    (first, *_) = pinned()
    assert all(len(jar.sha256) == 64 and jar.version in jar.file_name for jar in pinned())
    with pytest.raises(SettingsError, match=r"BEACON_SPARK_JARS: .* is not there; `make spark-jars`"):
        find_jars(Settings(spark_jars=tmp_path))
    (tmp_path / first.file_name).write_bytes(b"another")
    with pytest.raises(SettingsError, match=r"is not the jar that jars.txt pins"):
        find_jars(Settings(spark_jars=tmp_path))
