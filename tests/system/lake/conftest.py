"""What several modules of the lake's tests stand on."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.flaky import Flaky, flaky
from support.s3 import s3_bucket

from beacon_core.data.prediction_log.lake import LakePlace


@pytest.fixture
def home_on_s3(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LakePlace, Flaky, dict[str, str]]]:
    """A lake on a real S3 server, behind a proxy that can be made to fail, and the variables that name it."""
    with s3_bucket("ship") as bucket, flaky(os.environ["AWS_ENDPOINT_URL"]) as (address, state):
        variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        place = LakePlace(f"{bucket}/log", f"sqlite:///{home / 'beacon.db'}")
        yield place, state, variables | {"AWS_ENDPOINT_URL": address}
