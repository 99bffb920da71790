"""The form that asks the model in service, over a real inference: what it answers, refuses, and never leaves behind."""

import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
from support.console_place import KEY, PRODUCT, Place, place_with_prediction
from support.ports import free_port
from support.service import Answer, Service
from support.settings import Settings

from beacon_console.app import create
from beacon_console.formats import number, plain, signed
from beacon_console.what_if import routes
from beacon_core.data.database import open_store
from beacon_core.data.prediction_log import traffic

pytestmark = pytest.mark.xdist_group("explain")
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
NAMES = PRODUCT.feature_names


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place_with_prediction(tmp_path_factory.mktemp("asked")) as place:
        yield place


@pytest.fixture
def console(place: Place) -> Iterator[Service]:
    with Service(create(place.settings)) as running:
        yield running


def sent(console: Service, values: dict[str, Any], source: str = "", headers: list[tuple[str, str]] = FORM) -> Answer:
    fields = {f"feature-{NAMES.index(name)}": text for name, text in values.items()}
    query = f"?from={source}" if source else ""
    return console.post(f"/what-if{query}", urlencode(fields).encode(), headers)


def texts(row: dict[str, Any]) -> dict[str, str]:
    return {name: plain(row.get(name)) if name in row else "" for name in NAMES}


def text_of(answer: Answer, status: int = 200) -> str:
    assert answer.status == status, answer.body.decode()
    return html.unescape(answer.body.decode())


def logged(place: Place) -> int:
    engine = open_store(place.settings.database)
    with engine.connect() as connection:
        count = traffic.count(connection)
    engine.dispose()
    return count


def test_the_form_begins_with_the_examples(console: Service) -> None:
    text = text_of(console.get("/what-if"))
    for place, feature in enumerate(PRODUCT.features):
        shown = plain(feature.example)
        assert f'value="{shown}" selected' in text or f'name="feature-{place}" value="{shown}"' in text
    assert '<option value="medium">' in text


def test_it_answers_as_inference_does_and_leaves_nothing(console: Service, place: Place) -> None:
    """Prediction, interval and explanation of a changed row, beside those of the logged one."""
    before = logged(place)
    area = place.row["area"] + 100
    row = place.row | {"area": area}
    wanted = httpx.post(
        f"{place.server.address}/v1/predict",
        json={"features": row},
        headers={"Beacon-Synthetic": "true", "X-API-Key": KEY},
        timeout=60,
    ).json()
    text = text_of(sent(console, texts(row), place.prediction["prediction_id"]))
    assert f"<dd>{number(wanted['prediction'])} <small>EUR</small></dd>" in text
    assert f"Interval {number(wanted['interval']['low'])} to {number(wanted['interval']['high'])}" in text
    difference = wanted["prediction"] - place.prediction["prediction"]
    assert abs(difference) > 0
    assert f"<dt>Difference</dt><dd>{signed(difference)}" in text
    first = re.search(r'<tr><th scope="row" class="text"><a [^>]*>(.*?)</a>.*?</tr>', text[text.index('id="why"') :])
    assert first is not None
    assert first[1] == "area", "what changed most is first"
    assert f"{plain(place.row['area'])}</td>" in first[0]
    assert f"{plain(area)} <span" in first[0]
    assert f"Imputed: {', '.join(wanted['imputed'])}." in text
    assert wanted["imputed"]
    assert logged(place) == before
    served = httpx.get(f"http://127.0.0.1:{place.server.metrics_port}/metrics", timeout=60).text
    count = re.search(r"^beacon_predictions_total\{[^}]*\} (\S+)$", served, re.MULTILINE)
    assert count is None or float(count[1]) == 1.0


def test_every_broken_rule_stands_beside_its_field(console: Service, place: Place) -> None:
    broken = {"area": "wide", "pieces": "1.5", "insured": "perhaps", "grade": "x<script>", "made_on": "yesterday"}
    text = sent(console, texts(place.row) | broken | {"warranty": "1e999"}).body.decode()
    assert "<script>" not in text
    assert "6 values break a rule" in text
    for name in (*broken, "warranty"):
        at = NAMES.index(name)
        assert f'id="feature-{at}-note" class="note wrong"' in text, name
        assert re.search(rf'name="feature-{at}"[^>]* aria-invalid="true"', text), name
        assert f'href="#feature-{at}"' in text
    assert 'value="wide"' in text, "what was typed is kept"


def test_a_value_that_must_not_be_missing_is_named(console: Service, place: Place) -> None:
    assert "must not be empty" in text_of(sent(console, texts(place.row) | {"area": ""}), 422)


def test_too_few_values_are_inferences_word(console: Service, place: Place) -> None:
    text = text_of(sent(console, {"area": "10"}))
    assert "There is no answer" in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([*FORM, ("Sec-Fetch-Site", "cross-site")], 401),
        ([*FORM, ("Sec-Fetch-Site", "same-site")], 401),
        ([("Content-Type", "text/plain")], 415),
        ([("Content-Type", "multipart/form-data; boundary=x")], 415),
        ([*FORM, ("Sec-Fetch-Site", "same-origin")], 200),
    ],
)
def test_no_other_site_sends_the_form(
    console: Service, place: Place, headers: list[tuple[str, str]], status: int
) -> None:
    assert sent(console, texts(place.row), headers=headers).status == status


@pytest.mark.parametrize("source", ["nothing", "%00", "a" * 65, "..%2F..", "p1'--"])
def test_an_unknown_original_is_refused(console: Service, source: str) -> None:
    answer = console.get(f"/what-if?from={source}")
    assert answer.status in {404, 422}
    assert "<main" in answer.body.decode()


def test_a_form_that_is_too_large_is_refused(console: Service) -> None:
    assert sent(console, {"supplier": "x" * (1 << 20)}).status == 413


def test_so_many_may_ask(console: Service, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PER_SECOND", 0.01)
    with Service(create(place.settings)) as slow:
        assert sent(slow, texts(place.row)).status == 200
        assert "Too many ask at once" in text_of(sent(slow, texts(place.row)), 429)


def test_an_inference_that_does_not_answer_is_told(place: Place) -> None:
    gone = msgspec.structs.replace(place.settings, inference_url=f"http://127.0.0.1:{free_port()}")
    with Service(create(gone)) as console:
        text = text_of(sent(console, texts(place.row)))
    assert "Inference does not answer. Try again later." in text
    assert f'value="{plain(place.row["area"])}"' in text


def test_a_key_that_inference_does_not_accept_is_told(place: Place) -> None:
    wrong: Settings = msgspec.structs.replace(place.settings, api_key="wrong")
    with Service(create(wrong)) as console:
        assert "BEACON_API_KEY must be the same for both" in text_of(sent(console, texts(place.row)))


def test_the_prediction_leads_here(console: Service, place: Place) -> None:
    name = place.prediction["prediction_id"]
    assert f'href="/what-if?from={name}"' in text_of(console.get(f"/predictions/{name}"))
    text = text_of(console.get(f"/what-if?from={name}"))
    assert f'value="{plain(place.row["area"])}"' in text
