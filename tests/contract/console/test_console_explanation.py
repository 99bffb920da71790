"""The console's page of an explanation, over a real inference: what it shows, and what it says when there is none."""

import html
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from support.console_place import KEY, PRODUCT, Place, place_with_prediction
from support.packages import build_package
from support.ports import free_port
from support.products import MIXED
from support.registry import Registry
from support.server import serving
from support.service import Service
from support.waiting import until

from beacon_console.app import create
from beacon_console.formats import number, plain, signed
from beacon_core.model_package.release import Release, package_folder, write_release

pytestmark = pytest.mark.xdist_group("explain")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place_with_prediction(tmp_path_factory.mktemp("explained")) as place:
        yield place


def page(place: Place, status: int = 200, path: str = "", **settings: Any) -> str:
    with Service(create(msgspec.structs.replace(place.settings, **settings))) as console:
        answer = console.get(path or place.path)
    assert answer.status == status, answer.body.decode()
    return html.unescape(answer.body.decode())


def explained(place: Place) -> dict[str, Any]:
    body = {"prediction_id": place.prediction["prediction_id"]}
    answer = httpx.post(f"{place.server.address}/v1/explain", json=body, headers={"X-API-Key": KEY}, timeout=60)
    (found,) = answer.json()["explanations"]
    assert isinstance(found, dict)
    return found


def test_the_page_shows_what_each_feature_adds(place: Place) -> None:
    """All of them, the largest first, each with its value; base, sum, interval and actual."""
    text, wanted = page(place), explained(place)
    shown = re.findall(r'<th scope="row">(.*?)<small>(.*?)</small></th>.*?<td class="num">(.*?)</td>', text, re.DOTALL)
    largest_first = sorted(wanted["contributions"], key=lambda each: -abs(each["contribution"]))
    assert [(name, size) for name, _, size in shown] == [
        (each["feature"], signed(each["contribution"])) for each in largest_first
    ]
    values = {name: value for name, value, _ in shown}
    for each in wanted["contributions"]:
        assert values[each["feature"]].startswith(plain(each["value"]))
        assert values[each["feature"]].endswith("imputed") == (each["source"] == "imputed")
    assert {each["source"] for each in wanted["contributions"]} == {"request", "imputed", "computed"}
    assert f"<dt>Base</dt><dd>{number(wanted['base'])}</dd>" in text
    assert f"<dd>{number(wanted['prediction'])} <small>{wanted['unit']}</small></dd>" in text
    assert f"interval {number(place.prediction['interval']['low'])} to" in text
    assert f"<dt>Actual</dt><dd>{number(place.prediction['prediction'] + 1)}" in text
    assert "exact" in text
    for each in largest_first:
        assert f'aria-label="{each["feature"]}: {signed(each["contribution"])}' in text


def test_the_prediction_leads_to_its_explanation(place: Place) -> None:
    assert f'<a href="{place.path}">' in page(place, path=place.path.rpartition("/")[0])


def test_an_inference_that_does_not_answer_is_told(place: Place) -> None:
    """Beside what the store has of the prediction."""
    gone = f"http://127.0.0.1:{free_port()}"
    text = page(place, inference_url=gone)
    assert "Inference does not answer. Try again later." in text
    assert gone in text
    assert "<h2>Answer and actual</h2>" in text


def test_what_answers_may_be_something_else(place: Place, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Here a server whose answers are no JSON, and one of Beacon's that has no such route."""
    registry = Registry(tmp_path, place.pin)
    request.addfinalizer(registry.close)
    assert "What answers is not inference." in page(place, inference_url=registry.address)
    metrics = f"http://127.0.0.1:{place.server.metrics_port}"
    assert "Inference could not do it." in page(place, inference_url=metrics)


def test_a_wrong_key_is_told(place: Place) -> None:
    text = page(place, api_key="wrong")
    assert "BEACON_API_KEY must be the same for both." in text
    assert "Try again" not in text


def test_a_model_that_is_not_there_any_more_is_told(
    place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Neither in the models folder nor in MLflow; and where MLflow, which may have it, does not answer."""
    folder = package_folder(place.settings.models_dir, place.pin)
    kept = tmp_path / "kept"
    registry = Registry(kept, place.pin)
    request.addfinalizer(registry.close)
    new = build_package(place.settings.models_dir, PRODUCT, "2", bias=30.0)
    old_release = place.settings.release_file.read_bytes()
    write_release(place.settings.release_file, Release(new))
    shutil.move(folder, kept)
    (kept / "model.onnx").rename(tmp_path / "model.onnx")
    # A spool of its own: that of the other server belongs to it.
    own = {"spool": tmp_path / "spool", "api_key": KEY, "mlflow_url": registry.address}
    with serving(place.settings.home, product=MIXED, **own) as server:
        gone = page(place, inference_url=server.address)
        registry.close()
        down = page(place, inference_url=server.address)
    (tmp_path / "model.onnx").rename(kept / "model.onnx")
    shutil.move(kept, folder)
    place.settings.release_file.write_bytes(old_release)
    assert "is not kept any more." in gone
    assert "Try again" not in gone
    assert "MLflow does not answer. Try again later." in down
    for text in (gone, down):
        assert "<h2>There is no explanation</h2>" in text
        assert "<h2>Answer and actual</h2>" in text


def test_an_unknown_prediction_has_no_explanation(place: Place) -> None:
    assert "No prediction in the log has the id nope." in page(place, 404, "/predictions/nope/explanation")


def test_the_page_does_without_an_actual(place: Place) -> None:
    row = place.row
    made = httpx.post(f"{place.server.address}/v1/predict", json={"features": row}, timeout=60).json()
    path = f"/predictions/{made['prediction_id']}/explanation"
    with Service(create(place.settings)) as console:
        until(lambda: console.get(path).status == 200, "the prediction is in the store")
    assert "not known yet" in page(place, path=path)
    assert str(datetime.now(UTC).year) in page(place, path=path)
