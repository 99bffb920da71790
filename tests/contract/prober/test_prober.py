"""The prober against a real server, as Prometheus scrapes it: right, wrong and no responses, and a registry down."""

import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.packages import build_package, release_package
from support.registry import Registry
from support.server import serving
from support.settings import Settings
from support.waiting import until

from beacon_core.model_package.release import Release, package_folder, write_release
from beacon_prober.prober import Prober, serve

pytestmark = [pytest.mark.xdist_group("inference-server"), pytest.mark.slow]
KEY = "open-sesame"


@pytest.fixture(scope="module")
def home(tmp_path_factory, product):
    """A home in which version 1 is released, for all tests that do not change it."""
    folder = tmp_path_factory.mktemp("probed")
    release_package(folder, product)
    return folder


@pytest.fixture(scope="module")
def server(home):
    with serving(home, access_log="false", api_key=KEY) as running:
        yield running


class RunningProber:
    """A prober that serves on a free port."""

    def __init__(self, folder, product, server, wrong, registry, key=KEY):
        settings = Settings(home=folder, mlflow_url=registry, api_key=key)
        targets = {"service": f"{server.address}/v1/predict", "gone": "http://127.0.0.1:1/v1/predict"}
        targets |= {"elsewhere": f"{server.address}/docs", "wrong": wrong}
        self._server = serve(Prober(settings, product, targets), "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def get(self, path):
        url = f"http://127.0.0.1:{self._server.server_address[1]}{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def probe(self, target="service"):
        """Success, and whether a golden answer was compared with."""
        families = text_string_to_metric_families(self.get(f"/probe?target={target}"))
        found = {sample.name: sample.value for family in families for sample in family.samples}
        assert 0 < found["probe_duration_seconds"] < 10
        return found["probe_success"], found["beacon_probe_compared"]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def wrong(server):
    """The server's route with something between that makes every prediction a little wrong."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = urllib.request.Request(server.address + self.path, body, dict(self.headers))
            with urllib.request.urlopen(request, timeout=10) as answer:
                prediction = json.load(answer)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(prediction | {"prediction": prediction["prediction"] + 0.01}).encode())

        def log_message(self, *_):
            pass

    between = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=between.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{between.server_address[1]}/v1/predict"
    between.shutdown()
    between.server_close()
    thread.join()


@pytest.fixture
def start(tmp_path, product, server, wrong):
    made = []

    def make(registry, asked=server, **options):
        made.append(RunningProber(tmp_path / f"prober-{len(made)}", product, asked, wrong, registry, **options))
        return made[-1]

    yield make
    for prober in made:
        prober.close()


@pytest.fixture
def registries():
    """Serve the package of a version in `folder`."""
    made = []

    def make(pin, folder):
        made.append(Registry(package_folder(folder, pin), pin))
        return made[-1].address

    yield make
    for registry in made:
        registry.close()


def released(home):
    return msgspec.json.decode((home / "release.json").read_bytes(), type=Release).model


def compared(prober):
    """The first probe that compared with a golden response."""
    return until(lambda: (found := prober.probe())[1] and found, "the package is here")


def test_the_golden_response_of_the_package_in_service(start, registries, home):
    prober = start(registries(released(home), home / "models"))
    assert prober.probe() == (1, 0)  # the package is being downloaded
    assert compared(prober) == (1, 1)


def test_a_new_version_is_compared_with_its_own_package(start, registries, product, tmp_path):
    own = tmp_path / "home"
    release_package(own, product)
    with serving(own, access_log="false", api_key=KEY) as server:
        prober = start(registries(released(own), own / "models"), server)
        compared(prober)
        pin = build_package(own / "models", product, version="2", bias=30.0)
        write_release(own / "release.json", Release(pin))
        # The registry knows version 1 alone: a valid response is enough.
        until(lambda: prober.probe() == (1, 0), "version 2 answers")


def test_an_answer_that_is_not_the_packages_fails(start, registries, home):
    prober = start(registries(released(home), home / "models"))
    compared(prober)
    assert prober.probe("wrong") == (0, 1)


def test_a_registry_that_is_down_is_no_fault_of_the_service(start):
    prober = start("http://127.0.0.1:1")
    assert {prober.probe() for _ in range(3)} == {(1, 0)}


@pytest.mark.parametrize("target", ["gone", "elsewhere"])
def test_no_answer_or_no_prediction_fails(start, target):
    assert start("http://127.0.0.1:1").probe(target) == (0, 0)


def test_without_the_key_it_fails_aloud(start):
    assert start("http://127.0.0.1:1", key="wrong").probe() == (0, 0)


def test_only_its_targets_are_probed(start):
    prober = start("http://127.0.0.1:1")
    for path in ("/probe?target=http://169.254.169.254/", "/probe", "/metrics", "/"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            prober.get(path)
    assert prober.get("/livez") == "live\n"
