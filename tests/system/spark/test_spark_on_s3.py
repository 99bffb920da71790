"""The lake's files in S3: workers read them by their own variables, and nothing of Spark's shows the secret."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.s3 import Wsgi, s3_bucket
from support.spark_site import AT, PRODUCTS, Site, check_same_drift, filled

from beacon_core.data.prediction_log.lake import LakePlace

pytestmark = pytest.mark.spark
KEY, SECRET = "KEYOFTHELAKE", "s-3cret-0f-the-lake"


class Door:
    """Lets in who signs with a key, from when it is shut, and counts them."""

    def __init__(self) -> None:
        self.shut = False
        self.let_in = self.refused = 0

    def before(self, app: Wsgi) -> Wsgi:
        """What requests pass through first."""

        def answer(environ: dict[str, Any], start: Any) -> Any:
            known = f"Credential={KEY}/" in environ.get("HTTP_AUTHORIZATION", "")
            self.let_in += known
            if self.shut and not known:
                self.refused += 1
                start("403 Forbidden", [("Content-Type", "application/xml")])
                return [b"<Error><Code>InvalidAccessKeyId</Code><Message>unknown key</Message></Error>"]
            return app(environ, start)

        return answer


@pytest.fixture(scope="module", params=PRODUCTS)
def placed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Door]]:
    """A log whose lake is in a bucket of a real S3 server that knows one key; the variables have it."""
    door = Door()
    with s3_bucket("lake", before=door.before), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        door.shut = True
        home = tmp_path_factory.mktemp("spark")
        place = LakePlace("s3://lake/log", f"sqlite:///{home / 'catalog.db'}")
        yield filled(home, PRODUCTS[request.param], lambda _: place), door


def conf(site: Site, name: str, **options: str) -> dict[str, str]:
    """The setting of a file with Spark's options."""
    file = site.home / f"{name}.conf"
    file.write_text("".join(f"{option} {value}\n" for option, value in options.items()))
    return {"BEACON_SPARK_CONF": str(file)}


def test_drift_is_the_same_and_spark_shows_no_secret(placed: tuple[Site, Door]) -> None:
    site, door = placed
    events = site.home / "events"
    events.mkdir()
    options = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": f"file://{events}",
        "spark.eventLog.compress": "false",
    }
    settings = conf(site, "seen", **options)
    done = site.run("local", "drift", "--at", AT, "--segments")
    assert done.returncode == 0, done.stderr[-3000:]
    before = door.let_in
    done = site.run("spark", "drift", "--at", AT, "--segments", **settings)
    assert done.returncode == 0, done.stderr[-3000:]
    check_same_drift(site)
    assert door.let_in > before
    assert door.refused == 0
    shown = done.stdout + done.stderr + "".join(read(file) for file in events.rglob("*") if file.is_file())
    assert "SparkListenerEnvironmentUpdate" in shown
    assert SECRET not in shown
    assert not [file for file in site.home.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("placed", ["of numbers"], indirect=True)
def test_a_worker_without_the_key_ends_the_job_and_says_why(placed: tuple[Site, Door]) -> None:
    """So it is the workers who read, each by its own variables."""
    site, door = placed
    assert os.environ["AWS_ACCESS_KEY_ID"] == KEY
    settings = conf(site, "another", **{"spark.executorEnv.AWS_ACCESS_KEY_ID": "ANOTHER"})
    done = site.run("spark", "readers", str(site.home / "none.pickle"), **settings)
    assert done.returncode != 0
    assert door.refused > 0
    assert "the lake's files cannot be read or written" in done.stderr
    assert SECRET not in done.stderr
