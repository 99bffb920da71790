"""Why a model is not served, told from the words of those who refuse it, said by themselves."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from support import bad_models
from support.packages import build_package
from support.products import SPEC

from beacon_core.domain.ledger_entries import Reason
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import PackageError, read_package
from beacon_core.model_package.release import package_folder
from beacon_core.platform.product_file import load_product
from beacon_inference.models.model import load_model
from beacon_promotion.targets.base.refusals import MESSAGES, of_log, of_pod, reason_of

AT_LOAD = ("crashes at load", "wrong digest", "wrong schema", "wrong golden answers", "one answer to a batch")


@pytest.fixture(scope="module")
def product() -> Product:
    return load_product(SPEC)


@pytest.mark.parametrize("kind", AT_LOAD)
def test_what_inference_says_of_a_bad_model_is_named(kind: str, tmp_path: Path, product: Product) -> None:
    base = build_package(tmp_path, product)
    good = read_package(package_folder(tmp_path, base), base.sha256)
    pin = bad_models.build(kind, tmp_path, good, "2")
    with pytest.raises(PackageError) as refused:
        load_model(tmp_path, pin, product)
    assert reason_of(str(refused.value)) in bad_models.KINDS[kind].reasons


def test_a_package_that_is_not_there_is_named(tmp_path: Path, product: Product) -> None:
    with pytest.raises(PackageError) as refused:
        load_model(tmp_path, Pin(product.name, "9", "0" * 64), product)
    assert reason_of(str(refused.value)) == "package_missing"
    # As beacon_core.model_package.download words it.
    assert reason_of("MLflow at http://m has no boston-housing 9") == "package_missing"
    assert reason_of("model.onnx: MLflow at http://m holds other bytes than the pinned abc") == "digest_mismatch"


def test_every_reason_is_one_of_the_ledger() -> None:
    assert {reason for _, reason in MESSAGES} <= set(get_args(Reason))
    assert {reason for kind in bad_models.KINDS.values() for reason in kind.reasons} <= set(get_args(Reason))


def pod(phase: str = "Running", **container: object) -> dict[str, object]:
    return {
        "metadata": {"name": "p"},
        "status": {"phase": phase, "containerStatuses": [{"name": "inference", **container}]},
    }


def test_a_pod_says_why_it_does_not_serve() -> None:
    assert of_pod(pod(state={"running": {}})) is None
    assert of_pod({"metadata": {"name": "p"}}) is None
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    for state in ({"state": killed}, {"state": {"waiting": {}}, "lastState": killed}):
        refusal = of_pod(pod(**state))
        assert refusal is not None
        assert (refusal.reason, refusal.message) == ("memory", "p: inference was killed for its memory")
    ended = {
        "terminated": {"exitCode": 1, "message": "the model cannot be fetched: model.onnx: sha256 is a, expected b\n"}
    }
    refusal = of_pod(pod(state=ended))
    assert refusal is not None
    assert refusal.reason == "digest_mismatch"
    assert of_pod(pod(state={"terminated": {"exitCode": 0}})) is None
    refusal = of_pod(pod("Failed", state={}))
    assert refusal is not None
    assert refusal.reason == "not_ready"


# A service whose worker is killed while it starts, as the kernel does to one that takes too much memory; it never gets
# as far as to open a port.
KILLED = """
import os, signal
from beacon_core.platform.settings import Settings
from beacon_core.web.server import serve
serve("inference", Settings(), lambda: os.kill(os.getpid(), signal.SIGKILL), 0, None)
"""


def test_what_gunicorn_says_of_a_killed_worker_is_named() -> None:
    command = [sys.executable, "-c", KILLED]
    environment = os.environ
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = next(line for line in process.stdout if of_log("p", line) is not None)
        process.terminate()
        process.stdout.read()
    refusal = of_log("p", said)
    assert refusal is not None
    assert refusal.reason == "memory"


def test_a_worker_that_gunicorn_itself_killed_did_not_answer() -> None:
    assert of_log("p", "WORKER TIMEOUT (pid:7)\nWorker (pid:7) was sent SIGKILL! Perhaps out of memory?") is None
    assert of_log("p", "Worker (pid:7) was sent SIGTERM!") is None
