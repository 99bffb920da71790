"""Below a path: a proxy shows a service below /beacon, says so or not, takes the path off or leaves it there."""

import re
from datetime import UTC, datetime
from html import unescape
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from support.history import add_promotion, month
from support.packages import release_package, row_of
from support.products import SPEC
from support.proxy import below
from support.server import CONSOLE, serving

from beacon_core.data.database import migrate, open_store
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import SettingsError, load_settings

pytestmark = pytest.mark.xdist_group("reports")

PRODUCT = load_product(SPEC)
ROW = dict(zip(PRODUCT.feature_names, row_of(PRODUCT), strict=True))
LINKS = re.compile(r'\b(?:href|src|action)="([^"]*)"')
POSTED = re.compile(r'<form method="post" action="([^"]*)"')
"""Where forms go that change something."""
# (the proxy's path, whether it takes it off, whether it tells of it, the setting)
WAYS = {
    "taken off and told": ("/beacon", True, True, ""),
    "left there, by the setting": ("/beacon", False, False, "/beacon"),
    "left there and told, by the setting": ("/beacon", False, True, "/beacon"),
    "taken off, by the setting": ("/beacon", True, False, "/beacon"),
    "several segments": ("/ml/prod-1/beacon_v2", True, True, ""),
    "several segments, left there": ("/ml/prod.1/~beacon", False, False, "/ml/prod.1/~beacon/"),
}


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """A home of inference, and one of the console over a month."""
    inference, console = tmp_path_factory.mktemp("inference"), tmp_path_factory.mktemp("console")
    release_package(inference, PRODUCT)
    engine = open_store(f"sqlite:///{console / 'beacon.db'}")
    migrate(engine)
    month(engine, PRODUCT, count=300)
    add_promotion(engine, PRODUCT, datetime.now(UTC))
    engine.dispose()
    return inference, console


@pytest.mark.parametrize("way", WAYS)
def test_the_docs_page_works_below_a_path(homes, way):
    path, strip, tell, setting = WAYS[way]
    with (
        serving(homes[0], path_prefix=setting) as server,
        below(path, server.address, strip=strip, tell=tell) as address,
        httpx.Client(timeout=60) as client,
    ):
        for start in (address, f"{address}/"):
            moved = client.get(start)
            assert (moved.status_code, moved.headers["location"]) == (302, f"{path}/docs")
        check_docs(client, address)
        # Who asks the pod itself, such as a probe, needs no path.
        for own in ("/readyz", "/docs", "/openapi.json", "/v2/health/ready"):
            assert client.get(server.address + own).status_code == 200


def check_docs(client, address):
    """Follow what the page does: where it reads its document, and where it sends what is tried."""
    page = client.get(f"{address}/docs")
    assert page.status_code == 200
    assert not re.search(r'fetch\([`"]/|href: "/|(?:src|href)="/', page.text)
    (source,) = re.findall(r'fetch\("([^"]+)"\)', page.text)
    document = client.get(urljoin(str(page.url), source))
    assert document.status_code == 200
    (server,) = document.json()["servers"]
    # As the specification has it, from where the document is; tools put a path behind it.
    base = urljoin(str(document.url), server["url"]).rstrip("/")
    assert base == address
    for path in ("/v1/predict", "/v2/health/ready", "/readyz"):
        assert path in document.json()["paths"]
        tried = urljoin(str(page.url), f".{path}")  # as the page does
        assert tried == base + path
        body = {"json": {"features": ROW}} if path == "/v1/predict" else {}
        assert client.request("POST" if body else "GET", tried, **body).status_code == 200


def test_the_docs_page_works_below_a_path_that_nobody_told_of(inference_server):
    with below("/nobody/said", inference_server.address, strip=True, tell=False) as address, httpx.Client() as client:
        check_docs(client, address)


def test_without_a_path_all_is_where_it_was(inference_server):
    with httpx.Client() as client:
        check_docs(client, inference_server.address)
        assert client.get(inference_server.address).headers["location"] == "/docs"


@pytest.mark.parametrize("way", WAYS)
def test_every_link_of_the_console_stays_below_the_path(homes, way):
    path, strip, tell, setting = WAYS[way]
    with (
        serving(homes[1], CONSOLE, path_prefix=setting, mlflow_url="http://127.0.0.1:9", console_token="a") as server,
        below(path, server.address, strip=strip, tell=tell) as address,
        httpx.Client(timeout=60) as client,
    ):
        waiting, seen = [f"{address}/"], set()
        kinds = set()
        while waiting:
            url = waiting.pop()
            answer = client.get(url)
            assert answer.status_code == 200, url
            if "html" not in answer.headers["content-type"] or url.endswith("/report"):
                continue
            posted = set(map(unescape, POSTED.findall(answer.text)))
            for link in map(unescape, LINKS.findall(answer.text)):
                target = urljoin(url, link).partition("#")[0]
                assert urlsplit(target).path.startswith(f"{path}/"), f"{link} of {url} leads out"
                kind = re.sub(r"\d+|[0-9a-f]{12}", "N", urlsplit(target).path)
                if link not in posted and (kind not in kinds or "?" in link):
                    kinds.add(kind)
                    if target not in seen:
                        seen.add(target)
                        waiting.append(target)
        assert len(kinds) >= 10, kinds
        found = client.get(f"{address}/predictions?id=p00000001")
        assert (found.status_code, found.headers["location"]) == (303, f"{path}/predictions/p00000001")
        assert client.get(f"{address}/predictions/p00000001").status_code == 200
        assert f'href="{path}/"' in client.get(f"{address}/no/such/page").text


FORGED = [
    "//evil.example.com",
    "https://evil.example.com",
    "/\\evil.example.com",
    '/"><script>',
    "/a b",
    "/../..",
    "evil",
]


@pytest.mark.parametrize("prefix", FORGED)
def test_a_forged_path_leads_nowhere(inference_server, prefix):
    answer = httpx.get(inference_server.address, headers={"X-Forwarded-Prefix": prefix})
    assert answer.headers["location"] == "/docs"
    document = httpx.get(f"{inference_server.address}/openapi.json", headers={"X-Forwarded-Prefix": prefix}).json()
    assert document["servers"] == [{"url": "."}]


def test_the_paths_of_several_proxies_come_one_after_the_other(inference_server):
    for told, path in (("/outer, /inner", "/outer/inner"), ("/a,/b,/c", "/a/b/c"), ("/a/", "/a"), ("/", "")):
        answer = httpx.get(inference_server.address, headers={"X-Forwarded-Prefix": told})
        assert answer.headers["location"] == f"{path}/docs"


def test_a_path_that_one_proxy_takes_off_lies_before_one_that_another_leaves(homes):
    with (
        serving(homes[0], path_prefix="/beacon") as server,
        httpx.Client(base_url=server.address, timeout=60) as client,
    ):
        for told, asked, root in (
            ("/outer", "/beacon", "/outer/beacon"),
            ("/outer/beacon", "/beacon", "/outer/beacon"),
            ("/outer/beacon", "/", "/outer/beacon"),
            ("/outer, /beacon", "/", "/outer/beacon"),
            ("//forged", "/beacon", "/beacon"),
            ("/", "/beacon", "/beacon"),
        ):
            answer = client.get(asked, headers={"X-Forwarded-Prefix": told})
            assert (answer.status_code, answer.headers["location"]) == (302, f"{root}/docs"), (told, asked)
            document = client.get(f"{asked.rstrip('/')}/openapi.json", headers={"X-Forwarded-Prefix": told}).json()
            assert document["servers"] == [{"url": root}]


def test_a_path_that_only_begins_alike_is_another(homes):
    with serving(homes[0], path_prefix="/beacon") as server:
        for path in ("/beacons/readyz", "/beacon-2/readyz", "/beaconreadyz", "/Beacon/readyz", "/x/beacon/readyz"):
            assert httpx.get(server.address + path).status_code == 404, path
        for path in ("/beacon/readyz", "/readyz", "/beacon/v2/models", "/v2/models"):
            assert httpx.get(server.address + path).status_code == 200, path


@pytest.mark.parametrize(
    "text", ["beacon", "//beacon", "/a//b", "/a b", "/a?b", "/../a", "/a/..", "https://a/b", "/\u00e4"]
)
def test_what_is_no_path_is_refused_at_the_start(text):
    with pytest.raises(SettingsError, match="BEACON_PATH_PREFIX"):
        load_settings({"BEACON_PATH_PREFIX": text})


@pytest.mark.parametrize(
    ("text", "path"), [("", ""), ("/", ""), ("/a", "/a"), ("/a/", "/a"), (" /a/b-c.d_e~f ", "/a/b-c.d_e~f")]
)
def test_a_path_is_read_with_or_without_its_last_slash(text, path):
    assert load_settings({"BEACON_PATH_PREFIX": text}).path_prefix == path
