"""Faults of the lake beside real servers: nothing acknowledged is lost or doubled, and each fault has a clear line."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from support.disk import small_disk
from support.flaky import Flaky
from support.lake_logs import SHIP_SECONDS, ask, failures, in_home, lake_ids, log_of, stop_whole, waiting
from support.lakes import NOON, in_folder, opened, own_rows
from support.load import PREDICT, under_load
from support.logged import logged_ids
from support.packages import release_package, row_of
from support.postgres import postgres
from support.products import SPEC
from support.server import Server, serving
from support.waiting import until

from beacon_core.data.prediction_log import lake
from beacon_core.data.prediction_log.lake import LakePlace
from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

pytestmark = [pytest.mark.lake, pytest.mark.xdist_group("log-process")]
OnS3 = tuple[LakePlace, Flaky, dict[str, str]]
REST_SECONDS = 0.05
NEW_FEATURE = {"type": "float", "title": "garages", "unit": "cars", "valid": [0, 9], "nullable": True} | {
    "impute": "median", "example": 1,
}  # fmt: skip


def get(server: Server, path: str) -> httpx.Response:
    return httpx.get(f"{server.address}{path}", timeout=60)


def shipped(server: Server) -> None:
    until(lambda: waiting(server, "lake") == 0, "the lake has all", SHIP_SECONDS)


def test_s3_that_answers_503_half_of_the_time_gets_every_record_once(
    home: Path, row: dict[str, float], home_on_s3: OnS3
) -> None:
    place, state, variables = home_on_s3
    state.refuses_each = 2
    with serving(home, access_log="false", log_stores="lake", lake=place.files, environment=variables) as server:
        with under_load(server.address, row, rest=REST_SECONDS) as loads:
            loads.wait_for(60)
        shipped(server)
        stop_whole(server, home)
    assert state.refused > 10
    assert loads.total("failed") == loads.total("unlogged") == 0
    assert lake_ids(place) == sorted(loads.acknowledged)


def test_s3_that_is_away_until_the_spool_is_full(home: Path, row: dict[str, float], home_on_s3: OnS3) -> None:
    """As an hour's traffic fills it: what has no room is told and counted, and what was acknowledged comes."""
    place, state, variables = home_on_s3
    options = {"access_log": "false", "log_stores": "lake", "lake": place.files, "spool_max_bytes": 20_000}
    with serving(home, environment=variables, **options) as server:
        known = ask(server, row, 3)
        shipped(server)
        state.refuses_each = 1
        told = {"true": list[str](), "false": list[str]()}

        def predict() -> bool:
            answer = httpx.post(f"{server.address}{PREDICT}", json={"features": row}, timeout=30)
            assert answer.status_code == 200
            told[answer.headers["beacon-logged"]].append(answer.json()["prediction_id"])
            return answer.headers["beacon-logged"] == "true"

        while len(told["false"]) < 5:
            predict()
        assert "predictions are not logged: the spool is full" in server.log()
        metrics = httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=10).text
        assert "beacon_prediction_log_dropped_total 5.0" in metrics
        until(lambda: failures(server, "lake") > 0, "the failure is counted", SHIP_SECONDS)
        assert "the lake's files cannot be read or written" in log_of(server).log()
        assert get(server, f"/v1/predictions/{told['true'][0]}").status_code == 200, "what waits is found"
        away = get(server, f"/v1/predictions/{known[0]}")
        assert (away.status_code, away.json()["code"]) == (503, "prediction_log_unavailable")
        state.refuses_each = 0
        shipped(server)
        until(predict, "the spool has room again", SHIP_SECONDS)
        stop_whole(server, home)
    assert lake_ids(place) == sorted([*known, *told["true"]])


def test_a_full_disk_of_the_lake_holds_up_the_lake_alone(home: Path, row: dict[str, float]) -> None:
    folder = home / "lake"
    folder.mkdir()
    filler = folder / "filler"
    with (
        small_disk(folder, "4m"),
        serving(home, access_log="false", log_stores="sql,lake", lake=folder) as server,
    ):
        known = ask(server, row, 2)
        shipped(server)
        filler.write_bytes(os.urandom(os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize))
        known += ask(server, row, 5)
        until(lambda: failures(server, "lake") > 0, "the failure is counted", SHIP_SECONDS)
        until(lambda: waiting(server, "sql") == 0, "the database has them all the same", SHIP_SECONDS)
        assert "No space left on device" in log_of(server).log()
        filler.unlink()
        shipped(server)
        stop_whole(server, home)
        assert lake_ids(in_home(home)) == sorted(logged_ids(home / "beacon.db")) == sorted(known)


def test_two_pods_and_the_upkeep_commit_to_one_lake_at_once(
    home: Path, tmp_path: Path, row: dict[str, float], product: Product
) -> None:
    other = tmp_path / "other"
    release_package(other, product)
    with postgres() as cluster:
        place = LakePlace(str(tmp_path / "lake"), cluster.url)
        options = {
            "access_log": "false", "log_stores": "sql,lake", "lake": place.files, "database_url": cluster.url,
        }  # fmt: skip
        with serving(home, **options) as first, serving(other, **options) as second:
            with (
                under_load(first.address, row, rest=REST_SECONDS) as at_first,
                under_load(second.address, row, rest=REST_SECONDS) as at_second,
            ):
                for _ in range(3):
                    at_first.wait_for(20)
                    log_of(first).kill()
                    log_of(first).start()  # its first commit is due at once
                    with opened(*place) as found:
                        lake.keep_up(found, datetime.now(UTC), timedelta(0))
                    at_second.wait_for(20)
            stop_whole(first, home)
            stop_whole(second, other)
        acknowledged = sorted([*at_first.acknowledged, *at_second.acknowledged])
        assert lake_ids(place) == acknowledged
        assert sorted(name for (name,) in cluster.query("SELECT id FROM predictions")) == acknowledged


def test_a_clock_that_goes_back_an_hour_amid_predictions(home: Path, row: dict[str, float]) -> None:
    with serving(home, access_log="false", log_stores="lake", lake=home / "lake") as server:
        known = ask(server, row, 3)
        clock.set_shift(home, timedelta(hours=-1))
        until(lambda: _is_shifted(server, row, known), "the server has the other time")
        clock.set_shift(home, timedelta(0))
        known += ask(server, row, 3)
        shipped(server)
        log_of(server).kill()
        log_of(server).start()
        for name in known:
            assert get(server, f"/v1/predictions/{name}").json()["prediction_id"] == name
        stop_whole(server, home)
    assert lake_ids(in_home(home)) == sorted(known)


def _is_shifted(server: Server, row: dict[str, float], known: list[str]) -> bool:
    """Predict once more; whether that was an hour ago."""
    known += ask(server, row, 1)
    told = get(server, f"/v1/predictions/{known[-1]}").json()["time"]
    return datetime.fromisoformat(told) < datetime.now(UTC) - timedelta(minutes=59)


def test_a_product_that_gains_a_feature_while_lines_of_the_old_one_wait(
    home: Path, tmp_path: Path, row: dict[str, float]
) -> None:
    """The new version is served, and the log's process started anew, with a spool that has lines of both."""
    options = {"access_log": "false", "log_stores": "lake", "lake": home / "lake"}
    with serving(home, **options) as server:
        log_of(server).kill()
        old = ask(server, row, 3)
        server.kill_alone()
    grown = _with_feature(tmp_path)
    release_package(home, grown, version="2")
    values = dict(zip(grown.feature_names, row_of(grown), strict=True))
    with serving(home, product=grown.file, **options) as server:
        new = ask(server, values, 3)
        shipped(server)
        assert get(server, f"/v1/predictions/{old[0]}").status_code == 200
        stop_whole(server, home)
    with opened(*in_home(home)) as found, lake.begin(found) as handle:
        features = {one.id: one.features for one in lake.find(handle, [*old, *new])}
    assert features.keys() == {*old, *new}
    assert {"garages" in features[name] for name in old} == {False}
    assert {features[name]["garages"] for name in new} == {values["garages"]}


def _with_feature(folder: Path) -> Product:
    """The tests' product with one more feature."""
    spec = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
    spec["features"]["garages"] = NEW_FEATURE
    (folder / "product.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    (folder / "policy.yaml").write_text((SPEC.parent / "policy.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return load_product(folder / "product.yaml")


def job(name: str, folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run a job on a home whose log is the lake alone; its exit status and lines."""
    place = in_folder(folder)
    variables = {"HOME": str(folder), "PRODUCT": str(SPEC), "LOG_STORES": "lake", "LAKE": place.files} | {
        "LAKE_CATALOG_URL": place.catalog, "LOG_FORMAT": "plain", "MLFLOW_URL": "http://127.0.0.1:9",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, ROOT / "jobs" / f"{name}.py", *arguments],
        env={"PATH": os.environ["PATH"]} | {f"BEACON_{key}": value for key, value in variables.items()},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_an_unknown_entity_to_forget_is_told_and_changes_nothing(tmp_path: Path) -> None:
    with opened(*in_folder(tmp_path)) as found:
        lake.append_rows(found, own_rows(5, NOON, entity="7"))
        before = found.load().current_snapshot()
    status, lines = job("forget", tmp_path, "--entity", "8", "--reason", "asked by letter", "--dry-run")
    assert status in {0, TRY_AGAIN}, lines
    assert not [line for line in lines if line.startswith("lake: ")]
    with opened(*in_folder(tmp_path)) as found:
        assert found.load().current_snapshot() == before
        with lake.begin(found) as handle:
            assert lake.forget(handle, entity="8", most=10) == []
        assert found.load().current_snapshot() == before, "nothing is written anew for nobody"


@pytest.mark.parametrize("name", ["expire", "forget"])
def test_a_job_that_needs_a_torn_file_names_it_in_a_line(tmp_path: Path, name: str) -> None:
    with opened(*in_folder(tmp_path)) as found:
        for minutes in range(3):
            lake.append_rows(found, own_rows(50, NOON + timedelta(minutes=minutes), entity="7"))
    torn = min((tmp_path / "lake").rglob("*.parquet"))
    torn.write_bytes(torn.read_bytes()[:500])
    status, lines = job(name, tmp_path, *(["--entity", "7", "--reason", "asked"] if name == "forget" else []))
    assert status in {1, REFUSED}, lines
    told = [line for line in lines if torn.name in line and "is damaged" in line]
    assert len(told) == 1, json.dumps(lines, indent=1)
    assert not [line for line in lines if "Traceback" in line]
