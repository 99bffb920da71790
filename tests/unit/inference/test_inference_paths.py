"""Names that are paths: whatever a client or a release file says, no file outside the service's folders is opened."""

import sys
from pathlib import Path

import pytest
from support.packages import build_package

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release, write_release
from beacon_core.platform.settings import ROOT
from beacon_inference.models import hot_swap as models_module

EVIL = [
    "../../etc/passwd",
    "/etc/passwd",
    "%2e%2e%2fetc%2fpasswd",
    "..\\..\\etc\\passwd",
    "boston-housing\0/etc/passwd",
    "\uff0e\uff0e/etc/passwd",
    "\u2024\u2024/etc/passwd",
    "a" * 4096,
    "boston-housing/../../../etc/passwd",
    ".",
    "..",
]


class Opened:
    """Files that Python opened between `with` and its end; an audit hook stays for the life of the process."""

    def __init__(self) -> None:
        self._watching = False
        self.paths: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if self._watching and event in {"open", "os.listdir", "os.scandir", "sqlite3.connect"}:
            path = arguments[0]
            if isinstance(path, str | bytes):
                self.paths.append(path.decode("utf-8", "replace") if isinstance(path, bytes) else path)

    def __enter__(self):
        self.paths.clear()
        self._watching = True
        return self

    def __exit__(self, *_) -> None:
        self._watching = False

    def outside(self, *folders: Path) -> list[str]:
        """Those in none of the folders; Python's own code is loaded from anywhere."""
        allowed = tuple(map(str, (*folders, ROOT / "services", ROOT / ".venv", sys.prefix, sys.base_prefix)))
        return [path for path in self.paths if not path.startswith((*allowed, "file:" + str(folders[0])))]


OPENED = Opened()


def paths(name):
    yield "GET", f"/v2/models/{name}"
    yield "GET", f"/v2/models/{name}/ready"
    yield "GET", f"/v2/models/boston-housing/versions/{name}"
    yield "GET", f"/v1/models/{name}"
    yield "GET", f"/v1/predictions/{name}"
    yield "GET", f"/{name}"
    yield "POST", f"/v2/models/{name}/infer"
    yield "POST", f"/v2/models/boston-housing/versions/{name}/infer"
    yield "POST", f"/v1/models/{name}:predict"


@pytest.mark.parametrize("name", EVIL, ids=lambda name: repr(name)[:30])
def test_a_path_for_a_name_opens_nothing(shared_service, tmp_path_factory, name):
    tensor = {"name": "features", "shape": [1, 12], "datatype": "FP64", "data": [0.0] * 12}
    with OPENED as opened:
        for method, path in paths(name):
            answer = shared_service.run(shared_service.ask(method, path, {"inputs": [tensor]}))
            assert 400 <= answer.status < 500 or (path == "/." and answer.status < 500), (method, path, answer.body)
            assert b"root:" not in answer.body
        for body in ({"prediction_id": name, "value": 1}, {"actuals": [{"prediction_id": name, "value": 1}]}):
            assert 400 <= shared_service.post("/v1/actuals", body).status < 500
        assert shared_service.post("/v1/predict", {"prediction_id": name}).status == 422
    assert opened.outside(tmp_path_factory.getbasetemp()) == []
    assert not [path for path in opened.paths if "passwd" in path]


@pytest.fixture(autouse=True)
def _look_often(monkeypatch):
    monkeypatch.setattr(models_module, "POLL_SECONDS", 0.01)


@pytest.mark.parametrize("name", EVIL, ids=lambda name: repr(name)[:30])
@pytest.mark.parametrize("part", ["name", "version"])
def test_a_release_that_pins_a_path_opens_nothing(service, settings, product, tmp_path_factory, caplog, name, part):
    pin = {"name": product.name, "version": "1", "sha256": "0" * 64} | {part: name}
    with OPENED as opened:
        write_release(settings.release_file, Release(Pin(**pin)))
        service.until(lambda: "the new model is refused" in caplog.text, "it is looked at")
    assert service.metrics()["beacon_model_swaps_total{outcome=refused}"] == 1
    assert opened.outside(tmp_path_factory.getbasetemp()) == []  # the shared service is still at work
    assert not [path for path in opened.paths if "passwd" in path]
    assert service.get("/readyz").json()["model"]["version"] == "1"


def test_the_watch_would_see_a_file_that_is_opened(tmp_path, tmp_path_factory, product):
    with OPENED as opened:
        build_package(tmp_path, product)
        Path("/etc/hostname").read_bytes()
    assert opened.outside(tmp_path_factory.getbasetemp()) == ["/etc/hostname"]
