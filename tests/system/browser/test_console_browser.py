"""The console in a real Chromium: legible on every screen, in both colour schemes, without script, by keyboard."""

from datetime import UTC, datetime

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from support.console_pages import NARROW, PHONE, TOKEN, WIDE, pages
from support.history import add_drift
from support.waiting import until

from beacon_core.data.database import open_store

expect.set_options(timeout=60_000)
SERIOUS = {"serious", "critical"}
# Every text with its colour and the first opaque background below it; the ratio as WCAG has it.
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const plain = color => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    if (![...node.childNodes].some(c => c.nodeType === 3 && c.textContent.trim()) || node.closest('svg')) continue;
    if (!node.getClientRects().length) continue;
    let below = node; let back = [0, 0, 0, 0];
    while (below && back[3] < 255) {
      back = plain(getComputedStyle(below).backgroundColor);
      below = below.parentElement;
    }
    const [a, b] = [light(plain(getComputedStyle(node).color)), light(back)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) found.push([node.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE, NARROW], ids=["wide", "phone", "narrow"])
def test_every_page_fits_its_screen_and_can_be_read(open_page, console, scheme, size):
    page = open_page("/", size, scheme)
    too_wide = []
    for path in pages(console, page):
        page.goto(console.address + path)
        page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
        beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        too_wide += [(path, beyond)] if beyond else []
        assert page.evaluate(CONTRAST) == [], path
    assert too_wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_nothing_serious_on_any_page(open_page, console, scheme, size):
    page, axe, found = open_page("/", size, scheme), Axe(), []
    for path in pages(console, page):
        page.goto(console.address + path)
        page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
        answer = axe.run(page).response
        assert answer["passes"], "axe looked at nothing"
        found += [
            (path, item["id"], node["target"], node["failureSummary"])
            for item in answer["violations"]
            if item["impact"] in SERIOUS
            for node in item["nodes"]
        ]
    assert found == []


def test_every_page_is_built_for_those_who_hear_it(open_page, console):
    page = open_page("/")
    for path in pages(console, page):
        page.goto(console.address + path)
        assert page.locator("h1").count() == 1, path
        assert page.locator("main#main, header nav[aria-label]").count() == 2, path
        levels = [int(name[1]) for name in page.locator("h1, h2, h3").evaluate_all("all => all.map(e => e.tagName)")]
        assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False)), path
        assert page.locator("table:not(:has(caption))").count() == 0, path
        assert page.locator("thead th:not([scope]), tbody th:not([scope])").count() == 0, path
        assert page.locator("svg:not([aria-label]), img:not([alt])").count() == 0, path
        assert page.locator("input:not([type=hidden])").evaluate_all("all => all.every(e => e.labels.length)"), path
        assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_the_answer_is_on_the_first_screen_of_a_phone(open_page, script):
    page = open_page("/", PHONE, script=script)
    headline = page.locator("h1")
    assert headline.inner_text() == "Beacon is unhealthy: drift is confirmed in LSTAT and RM."
    box = headline.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < PHONE[1] / 2


def test_without_script_everything_is_there(open_page):
    page = open_page("/", script=False)
    page.get_by_text("7 more features, none with an alarm").click()
    expect(page.get_by_role("rowheader", name="CRIM")).to_be_visible()
    page.get_by_role("link", name="30 days").click()
    page.wait_for_url("**/?window=30d#drift")


def test_hovering_an_hour_lights_it_up(open_page):
    page = open_page("/")
    column = page.locator("#traffic .column").nth(5)
    before = column.evaluate("e => getComputedStyle(e).fill")
    column.hover()
    until(lambda: column.evaluate("e => getComputedStyle(e).fill") != before, "it is lit")
    assert "predictions" in page.locator("#traffic .spot title").nth(5).text_content()


def test_the_first_tab_skips_to_the_content(open_page):
    page = open_page("/")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the content"
    box = skip.bounding_box()
    assert box is not None
    assert box["x"] >= 0


def test_every_link_of_the_front_page_leads_somewhere(open_page, console):
    page = open_page("/")
    links = set(page.locator("a[href^='/']").evaluate_all("all => all.map(e => e.getAttribute('href'))"))
    assert len(links) > 8
    for link in links:
        assert page.request.get(console.address + link).status == 200, link
    inside = page.locator("a[href^='#']").evaluate_all("all => all.map(e => e.getAttribute('href'))")
    assert [name for name in inside if page.locator(name).count() != 1] == []


def test_a_report_cannot_act(open_page, console, product):
    engine = open_store(f"sqlite:///{console.home / 'beacon.db'}")
    period = add_drift(engine, product, 1, datetime(2020, 1, 1, tzinfo=UTC))
    engine.dispose()
    page = open_page(f"/drift/{period}/report")
    assert page.locator("h1").inner_text() == "Report"
    assert page.evaluate("self.origin") == "null", "a sandboxed page is nobody"


def test_a_person_looks_a_prediction_up(open_page):
    page = open_page("/predictions", PHONE)
    page.get_by_label("Prediction id").fill("p00002850")
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_text("within the interval")).to_be_visible()


def test_a_person_decides(open_page, console):
    page = open_page("/", PHONE)
    page.get_by_role("link", name="Put model 3 into service?").click()
    expect(page.get_by_text("MLflow at http://127.0.0.1:9 does not answer")).to_be_visible()

    def answer(token: str) -> None:
        page.get_by_label("Your name").fill("Ada")
        page.get_by_label("Why").fill("it is better")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Approve").click()

    answer("wrong")
    expect(page.get_by_text("The token is not the right one. Nothing was decided.")).to_be_visible()
    page.go_back()
    answer(TOKEN)
    page.wait_for_url(f"{console.address}/models/3#verdict")
    expect(page.get_by_text("approved by Ada")).to_be_visible()
    page.goto(console.address)
    expect(page.get_by_text("No model waits for approval.")).to_be_visible()
    assert page.get_by_role("link", name="Put model 3 into service?").count() == 0
