"""The spool's disk is full: predictions go on, every dropped record is counted, and the log recovers with the space."""

import resource
import subprocess
from pathlib import Path

import httpx
import pytest
from support.disk import small_disk
from support.load import PREDICT
from support.packages import release_package
from support.server import Server, serving
from support.service import samples
from support.waiting import until

from beacon_core.domain.product import Product

KIBI = 1024


@pytest.fixture
def home(tmp_path: Path, product: Product) -> Path:
    """A home whose database is away, so that the spool keeps what it has."""
    release_package(tmp_path / "home", product)
    (tmp_path / "home" / "beacon.db").mkdir()
    return tmp_path / "home"


def metrics(server: Server) -> dict[str, float]:
    return samples(httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics").text)


def fill(server: Server, row: dict[str, float], most: int = 50) -> tuple[list[str], int]:
    """Predict in batches until two of them are not logged: ids of those that were, and how many rows were not."""
    logged: list[str] = []
    dropped = 0
    for _ in range(most):
        answer = httpx.post(f"{server.address}{PREDICT}/batch", json={"rows": [{"features": row}] * 50}, timeout=30)
        assert answer.status_code == 200
        if answer.headers["beacon-logged"] == "true":
            logged += [each["prediction_id"] for each in answer.json()["predictions"]]
        else:
            dropped += 50
        if dropped == 100:
            return logged, dropped
    raise AssertionError("the disk did not fill up")


def check_recovery(server: Server, home: Path, row: dict[str, float], logged: list[str], dropped: int) -> None:
    """With space again everything acknowledged is shipped, once, and the drops are what was counted."""
    answer = httpx.post(f"{server.address}{PREDICT}", json={"features": row})
    assert answer.headers["beacon-logged"] == "true"
    logged.append(answer.json()["prediction_id"])
    assert metrics(server)["beacon_prediction_log_dropped_total"] == dropped
    (home / "beacon.db").rmdir()
    shipping = server.log_process
    assert shipping is not None
    until(lambda: not shipping.metrics()["beacon_prediction_log_spool_records"], "the log is shipped")
    found = shipping.metrics()
    assert found["beacon_prediction_log_shipped_total"] == len(logged)
    assert found["beacon_prediction_log_quarantined_total"] == 0
    for name in (logged[0], logged[-1]):
        assert httpx.get(f"{server.address}/v1/predictions/{name}").status_code == 200
    print(f"logged {len(logged)}, dropped and counted {dropped}")


def test_a_full_file_system(home: Path, tmp_path: Path, row: dict[str, float]) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    with small_disk(spool, "256k"), serving(home, access_log="false", spool=spool) as server:
        logged, dropped = fill(server, row)
        assert httpx.get(f"{server.address}/readyz").status_code == 200
        subprocess.run(["mount", "-o", "remount,size=8m", str(spool)], check=True)
        check_recovery(server, home, row, logged, dropped)


def test_a_limit_on_the_size_of_files(home: Path, row: dict[str, float]) -> None:
    with serving(home, access_log="false") as server:
        master = server.process.pid
        (worker,) = map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split())
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (100 * KIBI, resource.RLIM_INFINITY))
        logged, dropped = fill(server, row)
        assert httpx.get(f"{server.address}/readyz").status_code == 200
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        check_recovery(server, home, row, logged, dropped)
