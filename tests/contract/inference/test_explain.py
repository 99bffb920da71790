"""POST /v1/explain: the process behind it is the real one, in the application and in the real server."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.explanations import explanations, sizes
from support.logged_inference import create
from support.packages import build_package, release_package, row_of
from support.ports import free_port
from support.products import MIXED
from support.registry import Registry
from support.server import serving
from support.service import Service
from support.settings import Settings
from support.waiting import until

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.model_package.release import Release, package_folder, write_release
from beacon_core.platform.product_file import load_product
from beacon_inference.explanation.job import Job
from beacon_inference.explanation.process import ExplainerProcess
from beacon_inference.explanation.turns import MOST_WAITING
from beacon_inference.prediction.inputs import MOST_EXPLAINED_ROWS as MOST_ROWS

EXPLAIN, PREDICT = "/v1/explain", "/v1/predict"
SYNTHETIC = [("Beacon-Synthetic", "true")]
STARTS = "beacon_explainer_starts_total"
pytestmark = [pytest.mark.xdist_group("explain"), pytest.mark.slow]


@pytest.fixture(scope="module")
def explained_home(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Path:
    """A home whose model has an explanation.npz."""
    home = tmp_path_factory.mktemp("explain") / "home"
    release_package(home, product, explained=True)
    return home


@pytest.fixture
def home_of_its_own(tmp_path: Path, product: Product) -> Path:
    """For another server: two may not have one spool."""
    release_package(tmp_path / "home", product, explained=True)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def service(explained_home: Path) -> Iterator[Service]:
    """Inference in process, for the tests that change nothing."""
    with Service(create(Settings(home=explained_home))) as running:
        yield running


def test_contributions_are_those_of_the_model(service: Service, product: Product, row: dict[str, float]) -> None:
    """Of a linear model: slope times the distance from the mean, so twice the distance adds twice as much."""
    changed = row | {"TAX": row["TAX"] + 100}
    both = service.post(EXPLAIN, {"rows": [{"features": row}, {"features": changed}]})
    one, other = explanations(both)
    assert [each["feature"] for each in one["contributions"]] == list(product.feature_names)
    assert sizes(other)["TAX"] - sizes(one)["TAX"] == pytest.approx(0.1, abs=1e-4)
    rest = {name: size for name, size in sizes(one).items() if name != "TAX"}
    assert {name: sizes(other)[name] for name in rest} == pytest.approx(rest, abs=1e-5)
    predicted = service.post(PREDICT, {"features": changed}).json()
    assert other["prediction"] == predicted["prediction"]
    assert {key: other[key] for key in ("model", "unit")} == {key: predicted[key] for key in ("model", "unit")}
    assert (other["method"], other["samples"], other["prediction_id"]) == ("exact", None, None)


def test_the_values_are_told_with_where_they_came_from(service: Service, row: dict[str, float]) -> None:
    (one,) = explanations(service.post(EXPLAIN, {"features": row | {"ZN": None}}))
    told = {each["feature"]: (each["value"], each["source"]) for each in one["contributions"]}
    assert told.pop("ZN") == (row["ZN"], "imputed")  # the package fills in the middle of the range
    assert told == {name: (value, "request") for name, value in row.items() if name != "ZN"}


def test_the_same_row_gets_the_same_answer(service: Service, row: dict[str, float]) -> None:
    assert service.post(EXPLAIN, {"features": row}).body == service.post(EXPLAIN, {"features": row}).body


BAD_BODIES = [
    b"", b"{", b"[]", b'{"features": 1}', b'{"features": {"NOPE": 1}}', b'{"features": {"RM": "x"}}',
    b'{"features": {"RM": 1e999}}', b'{"features": {"RM": -5}}', b'{"features": {"RM": 6}}', b'{"entity": {"x": 1}}',
    b'{"other": 1}', b'{"features": {}}', b"{}", b'{"features": {"RM": "\xff"}}', b"[" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_bad_row_has_the_error_of_predict(service: Service, body: bytes) -> None:
    assert service.post(EXPLAIN, body).error() == service.post(PREDICT, body).error()


def test_rows_and_ids_are_bounded(service: Service, row: dict[str, float]) -> None:
    def error(body: Any) -> tuple[int, str, str | None]:
        return service.post(EXPLAIN, body).error()

    assert len(explanations(service.post(EXPLAIN, {"rows": [{"features": row}] * MOST_ROWS}))) == MOST_ROWS
    assert error({"rows": [{"features": row}] * (MOST_ROWS + 1)}) == (422, "batch_too_large", "rows")
    assert error({"rows": []}) == (400, "invalid_body", "rows")
    assert error({"rows": [{"features": row}, {"features": row | {"RM": "x"}}]})[2] == "rows[1].features.RM"
    assert error({"features": row, "prediction_id": "a"}) == (400, "invalid_body", "prediction_id")
    in_row = {"rows": [{"features": row}, {"features": row, "prediction_id": "a"}]}
    assert error(in_row) == (400, "invalid_body", "rows[1].prediction_id")
    assert error({"prediction_id": 5}) == (422, "invalid_type", "prediction_id")
    for unknown in ("nobody", "", "../x", "x" * 65, "\ud800"):
        assert error(json.dumps({"prediction_id": unknown}).encode())[:2] in {
            (404, "unknown_prediction"),
            (400, "invalid_json"),
        }
    assert error(b'{"features": {"RM": ' + b"1" * 3_000_000 + b"}}")[:2] == (413, "body_too_large")
    wrong_type = service.post(EXPLAIN, b"RM\n6\n", [("content-type", "text/csv")])
    assert wrong_type.error()[:2] == (415, "unsupported_media_type")
    assert service.get(EXPLAIN).error()[:2] == (405, "method_not_allowed")


def test_an_explanation_is_no_prediction(service: Service, row: dict[str, float]) -> None:
    """It is counted as what it is, and leaves nothing in the log, in drift or among the model's figures."""

    def figures() -> dict[str, float]:
        named = ("model_", "beacon_prediction_log", "beacon_stage")
        return {name: value for name, value in service.metrics().items() if name.startswith(named)}

    def counted() -> float:
        return service.metrics()["beacon_explanations_total{method=exact}"]

    service.post(EXPLAIN, {"features": row})
    before, explained = figures(), counted()
    explanations(service.post(EXPLAIN, {"rows": [{"features": row | {"TAX": 1}}] * 3}, SYNTHETIC))
    assert figures() == before
    assert counted() == explained + 3
    assert service.post(EXPLAIN, {"features": row}, [("Beacon-Synthetic", "yes")]).status == 400


def test_two_at_once_have_their_own_answers(service: Service, row: dict[str, float]) -> None:
    rows = [row | {"TAX": row["TAX"] + step} for step in range(MOST_WAITING)]

    async def ask_all() -> list[Any]:
        return await asyncio.gather(*(service.ask("POST", EXPLAIN, {"features": each}) for each in rows))

    found = [explanations(answer)[0] for answer in service.run(ask_all())]
    values = [each["value"] for one in found for each in one["contributions"] if each["feature"] == "TAX"]
    assert values == [each["TAX"] for each in rows]


def test_more_than_can_wait_are_shed(service: Service, row: dict[str, float]) -> None:
    async def ask_all() -> list[Any]:
        return await asyncio.gather(*(service.ask("POST", EXPLAIN, {"features": row}) for _ in range(60)))

    answers = service.run(ask_all())
    shed = [answer for answer in answers if answer.status == 503]
    assert {answer.error()[1] for answer in shed} == {"overloaded"}
    assert all("retry-after" in answer.headers for answer in shed)
    assert len(shed) == 60 - MOST_WAITING


def test_predictions_go_first(explained_home: Path, row: dict[str, float]) -> None:
    """While they are asked for, an explanation waits many times as long as the last one took; else not at all."""
    waits: list[float] = []

    async def explain(process: ExplainerProcess, job: Job) -> float:
        began = asyncio.get_running_loop().time()
        await process.answer(job)
        return asyncio.get_running_loop().time() - began

    async def work(home: Path) -> None:
        requests = 0
        process = ExplainerProcess(lambda: None, lambda: requests)
        job = job_of(home, row)
        await process.answer(job)
        for asked in (0, 1):
            for _ in range(5):
                requests += asked
                waits.append(await explain(process, job))
        await process.stop()

    asyncio.run(work(explained_home))
    assert min(waits[6:]) > 0.009
    assert min(waits[:5]) < min(waits[6:])


def test_the_logged_prediction_is_explained_by_the_model_that_made_it(
    tmp_path: Path,
    product: Product,
    row: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """From the models folder, else from MLflow, else not."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    home = tmp_path / "home"
    old = release_package(home, product, explained=True)
    registry = Registry(package_folder(home / "models", old), old)
    request.addfinalizer(registry.close)
    settings = Settings(home=home, mlflow_url=registry.address)
    with Service(create(settings)) as service:
        made = service.post(PREDICT, {"features": row | {"ZN": None}}).json()
    new = build_package(home / "models", product, "2", bias=30.0)
    write_release(home / "release.json", Release(new))
    body = {"prediction_id": made["prediction_id"]}
    with Service(create(settings)) as service:
        answer = service.post(EXPLAIN, body)
        (one,) = explanations(answer)
        assert answer.headers["beacon-model-version"] == "1"
        assert (one["prediction"], one["model"]["version"]) == (made["prediction"], "1")
        assert one["prediction_id"] == made["prediction_id"]
        sources = {each["feature"]: each["source"] for each in one["contributions"]}
        assert sources == dict.fromkeys(row, "request") | {"ZN": "imputed"}
        (now,) = explanations(service.post(EXPLAIN, {"features": row}))
        assert (now["model"]["version"], now["method"]) == ("2", "sampled")
    kept = tmp_path / "kept"
    shutil.move(package_folder(home / "models", old), kept)
    registry.folder = kept
    with Service(create(settings)) as service:
        (again,) = explanations(service.post(EXPLAIN, body))
        assert again == one
        assert list(tmp_path.glob("beacon-explained-*/*/1"))
    assert not list(tmp_path.glob("beacon-explained-*"))
    (kept / "model.onnx").unlink()
    with Service(create(settings)) as service:
        assert service.post(EXPLAIN, body).error()[:2] == (409, "model_gone")
    registry.close()
    with Service(create(msgspec.structs.replace(settings, mlflow_url=f"http://127.0.0.1:{free_port()}"))) as service:
        assert service.post(EXPLAIN, body).error()[:2] == (503, "registry_unavailable")


def test_a_logged_prediction_needs_the_key(home_of_its_own: Path, row: dict[str, float]) -> None:
    with Service(create(Settings(home=home_of_its_own, api_key="open-sesame"))) as service:
        body = {"prediction_id": service.post(PREDICT, {"features": row}).json()["prediction_id"]}
        assert service.post(EXPLAIN, body).error()[:2] == (401, "unauthorized")
        assert len(explanations(service.post(EXPLAIN, body, [("X-API-Key", "open-sesame")]))) == 1
        assert len(explanations(service.post(EXPLAIN, {"features": row}))) == 1


def test_without_a_model_there_is_nothing_to_explain(tmp_path: Path, row: dict[str, float]) -> None:
    with Service(create(Settings(home=tmp_path))) as service:
        assert service.post(EXPLAIN, {"features": row}).error()[:2] == (503, "model_not_ready")


def test_a_package_that_is_damaged_meanwhile_is_named(tmp_path: Path, product: Product, row: dict[str, float]) -> None:
    pin = release_package(tmp_path, product, explained=True)
    with Service(create(Settings(home=tmp_path))) as service:
        with (package_folder(tmp_path / "models", pin) / "explanation.npz").open("ab") as file:
            file.write(b"x")
        answer = service.post(EXPLAIN, {"features": row})
        assert answer.error()[:2] == (409, "model_gone")
        assert "explanation.npz" in answer.json()["error"]


def job_of(home: Path, row: dict[str, float]) -> Job:
    (folder,) = (home / "models").glob("*/1")
    digest = json.loads((home / "release.json").read_bytes())["model"]["sha256"]
    return Job(str(folder), digest, [list(row.values())], 0.0)


def test_a_process_that_died_or_hangs_is_replaced(explained_home: Path, row: dict[str, float]) -> None:
    async def work() -> None:
        starts: list[int] = []
        process = ExplainerProcess(lambda: starts.append(1), lambda: 0)
        job = job_of(explained_home, row)
        assert (await process.answer(job)).failure == ""
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        assert (await process.answer(job)).failure == ""
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        process._job_seconds = 0.2
        with pytest.raises(BeaconError) as error:
            await process.answer(job)
        assert error.value.code == "explainer_unavailable"
        process._job_seconds = 10
        assert (await process.answer(job)).failure == ""
        assert len(starts) == 3
        pid = process.pid
        await process.stop()
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(work())


def test_a_job_that_kills_the_process_is_answered_once(explained_home: Path, row: dict[str, float]) -> None:
    """Only a process that was there before is tried again: a row that kills it must not do so for ever."""

    async def work() -> None:
        starts: list[int] = []
        process = ExplainerProcess(lambda: starts.append(1), lambda: 0)
        await process.answer(job_of(explained_home, row))
        bad = msgspec.structs.replace(job_of(explained_home, row), rows="no rows")  # the process cannot read it
        with pytest.raises(BeaconError):
            await process.answer(bad)
        assert len(starts) == 2
        assert (await process.answer(job_of(explained_home, row))).failure == ""
        await process.stop()

    asyncio.run(work())


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are read from /proc")
def test_the_process_ends_with_the_server_that_started_it(home_of_its_own: Path, row: dict[str, float]) -> None:
    """Also where that is killed; and no process is there before it is asked."""
    import httpx

    def explain() -> int:
        return httpx.post(f"{server.address}{EXPLAIN}", json={"features": row}, timeout=60).status_code

    with serving(home_of_its_own) as server:
        (worker,) = children(server.process.pid)
        assert children(worker) == []
        assert explain() == 200
        (explainer,) = children(worker)
        assert os.getpriority(os.PRIO_PROCESS, explainer) > os.getpriority(os.PRIO_PROCESS, worker)
        assert b"BEACON_" not in Path(f"/proc/{explainer}/environ").read_bytes()
        os.kill(worker, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{explainer}").exists(), "the process that explains ends")
        until(lambda: children(server.process.pid) not in ([], [worker]), "a new worker starts")
        until(lambda: httpx.get(f"{server.address}/readyz", timeout=60).status_code == 200, "it is ready")
        assert explain() == 200
        ((last,),) = [children(new) for new in children(server.process.pid)]
        server.stop()
        until(lambda: not Path(f"/proc/{last}").exists(), "the process ends with the server")


def test_a_logged_row_of_any_kind_of_value_is_read_back(tmp_path: Path) -> None:
    """Texts, unseen levels, dates, flags and computed columns: as the same values explained at once."""
    product = load_product(MIXED)
    release_package(tmp_path, product, explained=True)
    row = dict(zip(product.feature_names, row_of(product), strict=True))
    others = {feature.name for feature in product.features if feature.unseen == "other"}
    dates = {feature.name for feature in product.features if feature.is_time}
    assert others
    assert dates
    assert product.derived
    variants = [row, row | dict.fromkeys(others, "nobody's"), {name: row[name] for name in row if name not in dates}]
    with Service(create(Settings(home=tmp_path, product=MIXED))) as service:
        for features in variants:
            made = service.post(PREDICT, {"features": features}).json()
            (logged,) = explanations(service.post(EXPLAIN, {"prediction_id": made["prediction_id"]}))
            (asked,) = explanations(service.post(EXPLAIN, {"features": features}))
            assert logged == asked | {"prediction_id": made["prediction_id"]}
            told = {each["feature"]: each for each in asked["contributions"]}
            assert {name: told[name]["value"] for name in features} == features
            assert [told[name]["source"] for name in row] == [
                "request" if name in features else "imputed" for name in row
            ]
            assert [told[column.name]["source"] for column in product.derived] == ["computed"] * len(product.derived)
