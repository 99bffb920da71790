"""The docs page in a real Chromium, below a path too; and pages of other origins, which ask if a setting lets them."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from support.packages import release_package, row_of
from support.ports import free_port
from support.proxy import below
from support.server import Server, serving

from beacon_core.domain.product import Product

expect.set_options(timeout=60_000)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("docs")
    release_package(home, product)
    with serving(home) as running:
        yield running


def try_prediction(page: Page, address: str) -> None:
    """Open the page, send the first example of a prediction, and see its answer."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    answer = page.goto(f"{address}/docs")
    assert answer is not None
    assert answer.status == 200
    form = page.locator("details#predict")
    expect(form).to_have_attribute("open", "")
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".status")).to_have_text("200 OK")
    assert "prediction" in json.loads(form.locator("pre").first.inner_text())
    assert complaints == []


@pytest.mark.parametrize(("path", "tell"), [("/beacon", True), ("/beacon", False), ("/ml/prod/beacon", False)])
def test_the_docs_page_works_below_a_path(page: Page, server: Server, path: str, tell: bool) -> None:
    with below(path, server.address, strip=True, tell=tell) as address:
        try_prediction(page, address)
        page.get_by_role("link", name="openapi.json").click()
        page.wait_for_url(f"{address}/openapi.json")


def test_the_docs_page_runs_no_script_but_its_own(page: Page, server: Server) -> None:
    page.goto(f"{server.address}/docs")
    page.evaluate(
        "const script = document.createElement('script'); script.textContent = 'document.title = \"run\"';"
        "document.body.append(script)"
    )
    assert page.title() != "run"


def test_the_docs_page_works_at_the_root(page: Page, server: Server) -> None:
    try_prediction(page, server.address)


def test_an_id_is_shown_to_its_last_digit(page: Page, server: Server) -> None:
    page.goto(f"{server.address}/docs")
    text = '{"entity":{"key":9223372036854775807},"features":[9007199254740993,-0.10,1.50e3,{},[ ]],"b":"a, \\"{b}:"}'
    shown = page.evaluate("text => indented(text)", text)
    assert '"key": 9223372036854775807' in shown
    assert "9007199254740993,\n" in shown
    assert json.loads(shown) == json.loads(text)
    assert "-0.10" in shown


ASK = """async ([address, path, body]) => {
  const headers = {'Content-Type': 'application/json', 'X-API-Key': 'k', 'Idempotency-Key': crypto.randomUUID()};
  try {
    const response = await fetch(address + path, {method: 'POST', headers, body});
    return {status: response.status, model: response.headers.get('beacon-model-version'),
      id: response.headers.get('x-request-id'), body: await response.json()};
  } catch (error) { return {error: error.name}; }
}"""


@pytest.mark.parametrize("setting", ["named", "*", "another", ""])
def test_a_page_of_another_origin_may_ask_where_the_setting_says_so(
    page: Page, tmp_path_factory: pytest.TempPathFactory, product: Product, server: Server, setting: str
) -> None:
    home = tmp_path_factory.mktemp("cors")
    release_package(home, product)
    origins = {"named": server.address, "another": f"http://127.0.0.1:{free_port()}"}.get(setting, setting)
    body = json.dumps({"features": dict(zip(product.feature_names, row_of(product), strict=True))})
    with serving(home, cors_origins=origins) as asked:
        page.goto(f"{server.address}/livez")  # a page of another origin: its port is another
        found = page.evaluate(ASK, [asked.address, "/v1/predict", body])
        refused = page.evaluate(ASK, [asked.address, "/v1/predict", "{"])
    if setting in {"named", "*"}:
        assert (found["status"], found["model"]) == (200, "1")
        assert found["id"]
        assert found["body"]["prediction_id"]
        assert (refused["status"], refused["body"]["code"]) == (400, "invalid_json")
    else:
        assert found == refused == {"error": "TypeError"}
