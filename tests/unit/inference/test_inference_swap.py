"""Models: a new version is taken beside the old one or refused with its reason, and the old one serves on."""

import asyncio
from types import SimpleNamespace

import msgspec
import numpy as np
import onnx
import pytest
from support.packages import build_package, linear_onnx, row_of

from beacon_core.domain.pins import Pin
from beacon_core.model_package.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    GoldenRequest,
    Manifest,
    PackageError,
    digest,
    write_manifest,
)
from beacon_core.model_package.release import Release, package_folder, read_release, write_release
from beacon_core.model_package.signature import sign_folder
from beacon_core.platform.signing_keys import write_key_pair
from beacon_inference.models import hot_swap as models_module

SWAPS = "beacon_model_swaps_total{outcome=%s}"


@pytest.fixture(autouse=True)
def _look_often(monkeypatch):
    monkeypatch.setattr(models_module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(models_module, "RETRY_SECONDS", (0.02,))


@pytest.fixture
def release(service, settings, row):
    """Writes a release and waits until it was looked at; the version that serves then."""

    def tried():
        counted = service.metrics()
        return sum(counted[SWAPS % outcome] for outcome in ("swapped", "refused"))

    def write(model, shadow=None):
        before = tried()
        if isinstance(model, bytes):
            settings.release_file.write_bytes(model)
        else:
            write_release(settings.release_file, Release(model, shadow))
        service.until(lambda: tried() > before, "the release file is looked at")
        return service.post("/v1/predict", {"features": row}).json()["model"]["version"]

    return write


def test_a_new_version_is_taken_while_the_service_runs(service, settings, product, release, row):
    pin = build_package(settings.models_dir, product, version="2", bias=30.0)
    old = service.post("/v1/predict", {"features": row})
    assert release(pin) == "2"
    new = service.post("/v1/predict", {"features": row})
    assert new.json()["prediction"] == pytest.approx(old.json()["prediction"] + 10, abs=1e-3)
    assert new.headers["beacon-model-version"] == "2"
    assert service.get("/readyz").json()["model"]["sha256"] == pin.sha256
    metrics = service.metrics()
    assert metrics[SWAPS % "swapped"] == 2
    assert metrics["model_predictions_total{model_version=1}"] == 1
    info = [name for name in metrics if name.startswith("beacon_model_info{")]
    assert info == [f"beacon_model_info{{model_version=2,name=boston-housing,role=champion,sha256={pin.sha256}}}"]


def test_what_loading_a_model_took_is_given_back(service, settings, product, release, monkeypatch):
    released = []
    monkeypatch.setattr(models_module, "release_freed_memory", lambda: released.append(True))
    assert release(build_package(settings.models_dir, product, version="2")) == "2"
    service.until(lambda: released, "the memory is given back")


def test_a_version_that_no_trusted_key_signed_is_not_taken(service, settings, product, release, caplog):
    """The keys are read at each load: a file that comes while the service runs holds for the next model."""
    key = write_key_pair(settings.signing_key_file, settings.trusted_keys_file)
    pin = build_package(settings.models_dir, product, version="2")
    assert release(pin) == "1"
    wanted = f"boston-housing 2: is not signed; one of {key.id} must have signed it (BEACON_MODEL_SIGNATURES=required)"
    (told,) = [record for record in caplog.records if "refused" in record.message]
    assert told.reason == wanted
    sign_folder(package_folder(settings.models_dir, pin), key, pin.sha256)
    service.until(lambda: service.get("/readyz").json()["model"]["version"] == "2", "it is taken once it is signed")


def test_it_can_go_back(service, settings, product, release):
    first = read_release(settings.release_file).model
    second = build_package(settings.models_dir, product, version="2")
    assert [release(second), release(first), release(second)] == ["2", "1", "2"]


def damaged(folder, name, change):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(change(content))


DAMAGE = {
    "flipped bit": (MODEL_FILE, lambda content: bytes([content[0] ^ 1]) + content[1:], "sha256 is"),
    "truncated": (MODEL_FILE, lambda content: content[:100], "sha256 is"),
    "empty": (MODEL_FILE, lambda _: b"", "sha256 is"),
    "swapped model": (MODEL_FILE, lambda _: linear_onnx(np.ones(12), 1.0), "sha256 is"),
    "manifest changed": (MANIFEST_FILE, lambda content: content.replace(b'"linear"', b'"better"'), "sha256 is"),
    "manifest truncated": (MANIFEST_FILE, lambda content: content[:-2], "sha256 is"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_package_is_refused_and_the_old_serves_on(service, settings, product, release, kind, caplog):
    name, change, reason = DAMAGE[kind]
    pin = build_package(settings.models_dir, product, version="2", bias=30.0)
    damaged(package_folder(settings.models_dir, pin), name, change)
    assert release(pin) == "1"
    assert service.metrics()[SWAPS % "refused"] == 1
    assert service.get("/readyz").status == 200
    (told,) = [record for record in caplog.records if "refused" in record.message]
    assert reason in told.reason
    assert told.model_version == "1"


ROW12 = tuple([1.0] * 12)
FOREIGN = {
    "another product": ({"product": "other"}, "is of product other"),
    "another version": ({"version": "3"}, "says that it is version 3"),
    "newer onnxruntime": ({"libraries": {"onnxruntime": "99.0"}}, "checked with onnxruntime 99.0"),
    "no golden requests": ({"golden": ()}, "has no golden requests"),
    "loose tolerance": ({"golden_tolerance": 0.046}, "tolerates 0.046 in its golden answers, of a target that spreads"),
    "no time": ({"created_at": "yesterday"}, "no ISO 8601 time"),
    "wrong golden answer": ({"golden": (GoldenRequest(ROW12, 7.0),)}, "a golden answer is off by"),
    "short golden row": ({"golden": (GoldenRequest((1.0,), 7.0),)}, "does not run"),
    "no features": ({"features": ()}, "has the features"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_package_that_does_not_fit_is_refused_and_the_old_serves_on(
    service, settings, product, release, kind, caplog
):
    changes, reason = FOREIGN[kind]
    pin = build_package(settings.models_dir, product, "2")
    folder = package_folder(settings.models_dir, pin)
    manifest = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
    sha256 = write_manifest(folder, msgspec.structs.replace(manifest, **changes))
    assert release(Pin(pin.name, pin.version, sha256)) == "1"
    assert service.metrics()[SWAPS % "refused"] == 1
    assert any(reason in getattr(record, "reason", "") for record in caplog.records)
    good = build_package(settings.models_dir, product, version="4")
    assert release(good) == "4", "the watch goes on"


def model_of(outputs):
    """An ONNX model that answers every batch with the same values."""
    value = onnx.helper.make_tensor("value", onnx.TensorProto.FLOAT, [len(outputs)], outputs)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["prediction"], value=value)],
        "constant",
        [onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, [None, 12])],
        [onnx.helper.make_tensor_value_info("prediction", onnx.TensorProto.FLOAT, [len(outputs)])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


@pytest.mark.parametrize("content", [b"no onnx", model_of([1.0]), model_of([float("nan")] * 2)])
def test_a_model_that_does_not_answer_its_golden_rows_is_refused(settings, product, release, content):
    folder = settings.models_dir / product.name / "2"
    build_package(settings.models_dir, product, "2")
    (folder / MODEL_FILE).write_bytes(content)
    for name in folder.iterdir():
        if name.name != MODEL_FILE:
            name.unlink()
    manifest = settings.models_dir / "spare"
    pin = build_package(
        manifest, product, "2", files={MODEL_FILE: digest(content)}, golden=(GoldenRequest(ROW12, 1.0),)
    )
    (package_folder(manifest, pin) / MANIFEST_FILE).rename(folder / MANIFEST_FILE)
    assert release(pin) == "1"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"model":{"name":"../x","version":"1","sha256":"a"}}', b'{"model":{"name":"x"}}', b"\xff"],
)
def test_a_broken_release_file_changes_nothing(service, release, content):
    assert release(content) == "1"
    assert service.metrics()[SWAPS % "refused"] == 1


def test_a_missing_package_and_a_wrong_digest_change_nothing(settings, release):
    old = read_release(settings.release_file).model
    assert release(Pin(old.name, "9", "0" * 64)) == "1"
    assert release(Pin(old.name, "1", "0" * 64)) == "1"


def test_the_shadow_is_logged_and_never_returned(service, settings, product, release, row):
    old = read_release(settings.release_file).model
    alone = service.post("/v1/predict", {"features": row}).json()
    assert release(old, build_package(settings.models_dir, product, "2", bias=35.0)) == "1"
    answer = service.post("/v1/predict", {"features": row})
    body = answer.json()
    assert {k: v for k, v in body.items() if k != "prediction_id"} == {
        k: v for k, v in alone.items() if k != "prediction_id"
    }
    assert b"shadow" not in answer.body
    kept = service.get(f"/v1/predictions/{body['prediction_id']}").json()
    assert kept["shadow"]["version"] == "2"
    assert kept["shadow"]["prediction"] == pytest.approx(body["prediction"] + 15, abs=1e-3)
    batch = service.post("/v1/predict/batch", {"rows": [{"features": row}, {"features": row | {"RM": 9}}]}).json()
    for one in batch["predictions"]:
        kept = service.get(f"/v1/predictions/{one['prediction_id']}").json()
        assert kept["shadow"]["prediction"] == pytest.approx(one["prediction"] + 15, abs=1e-3)


def test_a_shadow_that_is_refused_leaves_the_champion_alone(service, settings, product, release):
    champion = build_package(settings.models_dir, product, "2")
    broken = build_package(settings.models_dir, product, "3", golden=())
    assert release(champion, broken) == "2"
    metrics = service.metrics()
    assert metrics[SWAPS % "shadow_refused"] == 1
    assert metrics[SWAPS % "refused"] == 0


def test_a_shadow_that_fails_is_counted_and_harms_nobody(service, settings, product, release, row, monkeypatch):
    old = read_release(settings.release_file).model
    release(old, build_package(settings.models_dir, product, "2"))
    shadow = next(v for v in _models(service) if v.in_service.shadow).in_service.shadow
    monkeypatch.setattr(shadow, "_input", "no such input")
    answer = service.post("/v1/predict", {"features": row})
    assert answer.status == 200
    assert service.get(f"/v1/predictions/{answer.json()['prediction_id']}").json()["shadow"] is None
    assert service.metrics()[SWAPS % "shadow_failed"] == 1


LATE = ["model", "shadow"]


@pytest.mark.parametrize("late", LATE)
def test_a_package_that_comes_after_its_release_is_taken_when_it_is_there(
    service, settings, product, release, row, caplog, late
):
    old = read_release(settings.release_file).model
    pin = build_package(settings.models_dir / "elsewhere", product, "2", bias=30.0)
    refused = SWAPS % ("refused" if late == "model" else "shadow_refused")
    assert release(*((pin,) if late == "model" else (old, pin))) == "1"
    service.until(lambda: tries(caplog) == 1, "it is refused")
    swapped = service.metrics()[SWAPS % "swapped"]
    service.run(asyncio.sleep(0.2))
    assert service.metrics()[refused] == tries(caplog) == 1, "told once, however often it was tried"
    assert service.metrics()[SWAPS % "swapped"] == swapped, "nothing is taken anew meanwhile"

    package_folder(settings.models_dir / "elsewhere", pin).rename(package_folder(settings.models_dir, pin))
    service.until(lambda: service.metrics()[SWAPS % "swapped"] == swapped + 1, "it is taken")
    answer = service.post("/v1/predict", {"features": row}).json()
    assert answer["model"]["version"] == ("2" if late == "model" else "1")
    if late == "shadow":
        kept = service.get(f"/v1/predictions/{answer['prediction_id']}").json()
        assert kept["shadow"]["version"] == "2"


def test_a_package_that_comes_in_parts_is_taken_when_it_is_whole(service, settings, product, release, caplog):
    pin = build_package(settings.models_dir, product, "2")
    folder = package_folder(settings.models_dir, pin)
    model = (folder / MODEL_FILE).read_bytes()
    (folder / MODEL_FILE).write_bytes(model[:100])
    assert release(pin) == "1"
    assert tries(caplog) == 1
    (folder / MODEL_FILE).write_bytes(model)
    service.until(lambda: service.get("/readyz").json()["model"]["version"] == "2", "it is taken")


def test_what_is_refused_is_tried_ever_more_rarely(settings, product, monkeypatch):
    from prometheus_client import CollectorRegistry

    from beacon_inference.metrics import Instruments

    now = 1000.0
    monkeypatch.setattr(models_module, "RETRY_SECONDS", (1, 5, 60))
    monkeypatch.setattr(models_module, "time", SimpleNamespace(monotonic=lambda: now))
    write_release(settings.release_file, Release(Pin(product.name, "9", "0" * 64)))
    models = models_module.Models(settings, product, Instruments(CollectorRegistry(), product, settings))
    tried = []
    monkeypatch.setattr(models, "_load", lambda: tried.append(now) or _refuse())
    for second in range(1000, 1200):
        now = float(second)
        asyncio.run(models.refresh())
    assert tried == [1000, 1001, 1006, 1066, 1126, 1186]
    write_release(settings.release_file, Release(Pin(product.name, "10", "0" * 64)))
    asyncio.run(models.refresh())
    assert tried[-1] == 1199, "a new release is tried at once"


def _refuse():
    raise PackageError("not there")


def tries(caplog):
    return len([record for record in caplog.records if "refused" in record.message])


def _models(service):
    cells = service._app._start.__closure__
    return [cell.cell_contents for cell in cells if isinstance(cell.cell_contents, models_module.Models)]


def test_requests_under_way_while_models_change_get_one_model_each(service, settings, product, row):
    pins = [read_release(settings.release_file).model] + [
        build_package(settings.models_dir, product, str(version), bias=10.0 * version) for version in (3, 4)
    ]
    wanted = {"1": 20.0, "3": 30.0, "4": 40.0}
    rest = sum(row_of(product)) / 1000

    async def ask():
        body = (await service.ask("POST", "/v1/predict", {"features": row})).json()
        version = body["model"]["version"]
        assert body["prediction"] == pytest.approx(wanted[version] + rest, abs=1e-3)
        return version

    async def load():
        async with asyncio.timeout(60):
            for pin in pins[1:] + pins:
                write_release(settings.release_file, Release(pin))
                version = ""
                while version != pin.version:
                    version = await ask()
                    await asyncio.sleep(0.002)

    service.run(load())
