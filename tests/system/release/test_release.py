"""The files of a release as the workflow publishes them, on a registry of this machine: pushed, pulled, installed."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from support.control_plane import control_plane, missing_programs
from support.ports import free_port
from support.rendering import KUBE_VERSION, containers, documents_of, helm, pods, update_dependencies
from support.settings import Settings
from support.waiting import until

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.product_values import UMBRELLA, told_all
from tools.release import pack, versions
from tools.schema import charts

PROGRAM = os.environ.get("REGISTRY_PROGRAM", "docker-registry")
IMAGES = "registry.example.com/you/"
SOURCE = "https://git.example.com/you/beacon"
VERSION = versions(ROOT)["charts/beacon/Chart.yaml"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry, with its folder on this machine."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"a registry needs {PROGRAM}")
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        command = [PROGRAM, "serve", str(folder / "config.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        until(lambda: _answers(port), f"the registry ({folder / 'log'})")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return pack(IMAGES, tmp_path_factory.mktemp("release"), ROOT, SOURCE)


@pytest.fixture(scope="module")
def pushed(registry: str, packed: list[Path]) -> str:
    """The folder of the registry with every chart."""
    for file in packed:
        done = helm("push", str(file), f"oci://{registry}/you/charts", "--plain-http")
        assert done.returncode == 0, done.stderr
        assert "Digest: sha256:" in done.stdout + done.stderr, "what the workflow signs"
    return f"{registry}/you/charts"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("product") / "values.json"
    file.write_text(json.dumps(told_all(load_product(Settings().product))), encoding="utf-8")
    return file


def test_every_chart_is_packed_with_the_version_of_the_release(packed: list[Path]) -> None:
    assert sorted(file.name for file in packed) == sorted(f"{folder.name}-{VERSION}.tgz" for folder in charts())


def test_every_chart_says_what_it_is_and_where_it_comes_from(packed: list[Path]) -> None:
    for file in packed:
        done = helm("show", "chart", str(file))
        assert done.returncode == 0, done.stderr
        told = yaml.safe_load(done.stdout)
        assert (told["home"], told["sources"]) == (SOURCE, [SOURCE])
        assert told["icon"].startswith(f"{SOURCE}/raw/v{VERSION}/")
        assert (ROOT / told["icon"].removeprefix(f"{SOURCE}/raw/v{VERSION}/")).is_file()
        assert [set(each) for each in told["maintainers"]] == [{"name", "url"}]
        assert len(told["keywords"]) >= 4
        hub = {key.removeprefix("artifacthub.io/"): value for key, value in told["annotations"].items()}
        assert (hub["license"], hub["category"]) == ("Apache-2.0", "ai-machine-learning")
        images = [each["image"] for each in yaml.safe_load(hub["images"])]
        assert len(images) == (8 if told["name"] == UMBRELLA else len(images)) > 0
        assert all(image.startswith(f"{IMAGES}beacon-") and image.endswith(f":{VERSION}") for image in images)


def test_every_chart_is_in_the_registry(pushed: str) -> None:
    address, _, folder = pushed.partition("/")
    found = httpx.get(f"http://{address}/v2/_catalog").json()["repositories"]
    assert found == sorted(f"{folder}/{chart.name}" for chart in charts())
    for chart in charts():
        tags = httpx.get(f"http://{address}/v2/{folder}/{chart.name}/tags/list").json()["tags"]
        assert tags == [VERSION]


def test_the_umbrella_from_the_registry_is_that_of_the_checkout_with_the_registrys_images(
    pushed: str, product: Path
) -> None:
    update_dependencies()
    options = ("--namespace=beacon", KUBE_VERSION, f"--values={product}")
    published = helm(
        "template", "beacon", f"oci://{pushed}/{UMBRELLA}", f"--version={VERSION}", "--plain-http", *options
    )
    here = helm("template", "beacon", f"charts/{UMBRELLA}", f"--set=global.registry={IMAGES}", *options)
    assert published.returncode == 0, published.stderr
    assert published.stdout.splitlines() == here.stdout.splitlines()
    specs = [spec for _, spec in pods(documents_of(published.stdout))]
    ours = {container["image"] for spec in specs for container in containers(spec) if "beacon-" in container["image"]}
    assert len(ours) == 7
    assert {image.rpartition("/")[0] + "/" for image in ours} == {IMAGES}
    assert {image.rpartition(":")[2] for image in ours} == {VERSION}


def test_a_single_chart_from_the_registry_has_its_images_there(pushed: str, product: Path) -> None:
    spec = json.loads(product.read_text())["global"]["product"]["spec"]
    (product.parent / "console.json").write_text(json.dumps({"product": {"spec": spec}}), encoding="utf-8")
    options = (KUBE_VERSION, f"--values={product.parent / 'console.json'}")
    done = helm("template", "x", f"oci://{pushed}/console", f"--version={VERSION}", "--plain-http", *options)
    assert done.returncode == 0, done.stderr
    images = {each["image"] for _, spec in pods(documents_of(done.stdout)) for each in containers(spec)}
    assert images == {f"{IMAGES}beacon-console:{VERSION}"}


def test_helm_would_install_it(pushed: str, product: Path) -> None:
    """A server-side dry run: the API is asked what it serves, and takes nothing."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"a Kubernetes API needs {', '.join(missing)}")
    given = (f"oci://{pushed}/{UMBRELLA}", f"--version={VERSION}", "--plain-http", f"--values={product}")
    with control_plane([]) as plane:
        done = helm("install", "beacon", *given, f"--kubeconfig={plane.kubeconfig}", "--dry-run=server")
    assert done.returncode == 0, done.stderr
    assert "STATUS: pending-install" in done.stdout
    assert "rollout status deployment/beacon-inference" in done.stdout


def test_a_version_that_was_never_pushed_is_told(pushed: str) -> None:
    done = helm("pull", f"oci://{pushed}/{UMBRELLA}", "--version=9.9.9", "--plain-http", "--destination=/tmp")
    assert done.returncode != 0
    assert "9.9.9" in done.stderr
