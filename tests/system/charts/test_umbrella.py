"""The chart of all charts: one release is what the single ones are together, and nothing of it waits for later."""

import base64
import gzip
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.products import write_product
from support.rendering import KUBE_VERSION, containers, documents_of, helm, pods

from beacon_core.commands.cluster_secrets import OWN, PAIR
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, Settings
from tools.deploy import RELEASES
from tools.product_values import INLINE_BYTES, NEED_AN_ENTITY, UMBRELLA, told, told_all

Document = dict[str, Any]
CHART = ROOT / "charts" / UMBRELLA
SHIPPED = load_product(Settings().product)
RELEASE_BYTES = 1 << 20
"""What a Secret holds, and so a release of Helm's."""


def template(
    folder: Path, values: Document, *arguments: str, chart: str = UMBRELLA
) -> subprocess.CompletedProcess[str]:
    file = folder / f"values-{chart}.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    command = ("template", "beacon", f"charts/{chart}", "--namespace=beacon", KUBE_VERSION, "--values", str(file))
    return helm(*command, *arguments)


def render(folder: Path, values: Document, *arguments: str, chart: str = UMBRELLA) -> dict[tuple[str, str], Document]:
    done = template(folder, values, *arguments, chart=chart)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
    documents = documents_of(done.stdout)
    found = {(each["kind"], each["metadata"]["name"]): each for each in documents}
    assert len(found) == len(documents), "two charts make one object"
    return found


def made_up(folder: Path, *, entity: bool) -> Product:
    """A product of other columns than the shipped one's."""
    folder.mkdir()
    table = {"size": [1.5, 2.5], "price": [1.25, 2.25]}
    return write_product(folder, table, "price", entity="none") if not entity else write_product(folder, table, "price")


@pytest.fixture(params=["shipped", "made up", "without an entity"])
def product(request: pytest.FixtureRequest, tmp_path: Path) -> Product:
    if request.param == "shipped":
        return SHIPPED
    return made_up(tmp_path / "product", entity=request.param == "made up")


def test_it_is_what_the_single_charts_are_together(product: Product, tmp_path: Path) -> None:
    own = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    together: dict[tuple[str, str], Document] = {}
    for chart in RELEASES:
        if chart in NEED_AN_ENTITY and product.entity is None:
            continue
        values = own[chart] | {"product": told(product, "")}
        if chart == "platform":
            values.pop("product")
        if chart == "retraining":
            values["product"]["data"] = {"content": told_all(product)["global"]["product"]["data"]}
        together |= render(tmp_path, values, chart=chart)
    whole = render(tmp_path, told_all(product))
    secrets = {key for key in whole if key[1] == "beacon-secrets"}
    assert len(secrets) == 5
    assert whole.keys() - secrets == together.keys()
    assert {key: whole[key] for key in together} == together


def test_a_changed_product_rolls_what_reads_it_and_another_needs_no_other_image(tmp_path: Path) -> None:
    values = [told_all(SHIPPED), told_all(made_up(tmp_path / "other", entity=True))]
    one, other = (render(tmp_path, each) for each in values)

    def marks(found: dict[tuple[str, str], Document]) -> dict[str, str]:
        holders = {key: pod for key, each in found.items() if (pod := spec_of(each)) is not None}
        return {
            name: pod["metadata"].get("annotations", {}).get("beacon/product", "") for (_, name), pod in holders.items()
        }

    def images(found: dict[tuple[str, str], Document]) -> set[str]:
        return {container["image"] for _, spec in pods(list(found.values())) for container in containers(spec)}

    before, after = marks(one), marks(other)
    reading = {name for name, mark in before.items() if mark and not name.endswith("migration")}
    assert {"beacon-inference", "beacon-console", "beacon-feature-serving", "beacon-retraining"} <= reading
    assert [name for name in reading & after.keys() if before[name] == after[name]] == []
    assert images(one) == images(other)


def spec_of(document: Document) -> Document | None:
    spec = document.get("spec", {})
    return (spec.get("jobTemplate", {}).get("spec", {}) if document["kind"] == "CronJob" else spec).get("template")


def test_nothing_waits_for_what_comes_later(tmp_path: Path) -> None:
    """Hooks before the installation need neither the database nor MLflow, and no hook comes after it: `--wait` ends."""

    def hooks(*arguments: str) -> dict[str, str]:
        found = render(tmp_path, told_all(SHIPPED), *arguments)
        notes = {name: each["metadata"].get("annotations", {}) for (kind, name), each in found.items() if kind == "Job"}
        return {name: note.get("helm.sh/hook", "") for name, note in notes.items()}

    at_first = {name.rpartition("-")[0] if not hook else name: hook for name, hook in hooks().items()}
    assert at_first == {
        "beacon-secrets": "pre-install,pre-upgrade",
        "beacon-retraining-migration": "",
        "beacon-retraining-first": "",
        "beacon-promotion-first": "",
    }
    # An upgrade finds a database, whose tables change before its pods do.
    assert hooks("--is-upgrade")["beacon-retraining-migration"] == "pre-upgrade"


def test_a_job_is_made_anew_where_it_changed_and_stays_otherwise(tmp_path: Path) -> None:
    def jobs(*arguments: str) -> set[str]:
        found = render(tmp_path, told_all(SHIPPED), *arguments)
        return {name for kind, name in found if kind == "Job" and name != "beacon-secrets"}

    before = jobs()
    assert jobs() == jobs("--set=console.replicas=2") == before
    assert not jobs("--set=global.tag=v2") & before


def test_inference_starts_without_a_model(tmp_path: Path) -> None:
    found = render(tmp_path, told_all(SHIPPED), "--set=inference.gateway.enabled=true,inference.gateway.name=web")
    deployment = found["Deployment", "beacon-inference"]
    assert "beacon/release" not in deployment["spec"]["template"]["metadata"]["annotations"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    # Without a model it is alive and not ready, for as long as the first training takes.
    assert container["startupProbe"]["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert deployment["spec"]["progressDeadlineSeconds"] == 3600
    # The canary is a copy of the Deployment, which the Service finds, too.
    selector = found["Service", "beacon-inference"]["spec"]["selector"]
    assert selector == {"app.kubernetes.io/name": "inference", "app.kubernetes.io/part-of": "beacon"}
    (promotion,) = found["CronJob", "beacon-promotion"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "BEACON_PROMOTION_TARGET", "value": "deployment"} in promotion["env"]


def test_a_pinned_model_without_a_version_is_still_refused(tmp_path: Path) -> None:
    done = template(tmp_path, told_all(SHIPPED), "--set=inference.model.pinned=true")
    assert done.returncode != 0
    assert "model.version: which version to serve" in done.stderr


@pytest.mark.parametrize("chart", RELEASES)
def test_each_chart_can_be_left_out(chart: str, tmp_path: Path) -> None:
    whole = render(tmp_path, told_all(SHIPPED))
    without = render(tmp_path, told_all(SHIPPED), f"--set=install.{chart}=false")
    gone = whole.keys() - without.keys()
    assert gone
    assert {whole[key]["metadata"]["labels"]["helm.sh/chart"].rpartition("-")[0] for key in gone} == {chart}
    assert {key: whole[key] for key in without} == without


def test_images_are_those_of_one_registry_and_tag(tmp_path: Path) -> None:
    given = "--set=global.registry=r.example.com/x/,global.tag=v7,global.imagePullSecrets[0].name=login"
    found = render(tmp_path, told_all(SHIPPED), given)
    specs = [spec for _, spec in pods(list(found.values()))]
    images = {container["image"] for spec in specs for container in containers(spec)}
    ours = {image for image in images if "beacon-" in image}
    assert ours == {
        f"r.example.com/x/beacon-{name}:v7"
        for name in (
            "inference",
            "prediction-log",
            "feature-serving",
            "console",
            "retraining",
            "drift-profiling",
            "promotion",
        )
    }
    assert {image.partition(":")[0] for image in images - ours} == {
        "postgres",
        "redis",
        "prom/prometheus",
        "prom/alertmanager",
    }
    assert all(spec["imagePullSecrets"] == [{"name": "login"}] for spec in specs)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("global.regisrty=x", "regisrty"),
        ("global.product.spek=x", "spek"),
        ("install.consol=false", "consol"),
        ("console.replics=2", "replics"),
        ("secrets.creat=false", "creat"),
        ("consol.replicas=2", "consol"),
    ],
)
def test_a_misspelt_value_is_refused(given: str, named: str, tmp_path: Path) -> None:
    done = template(tmp_path, told_all(SHIPPED), f"--set={given}")
    assert done.returncode != 0
    assert named in done.stderr


def test_without_a_product_it_says_what_it_needs() -> None:
    done = helm("template", "beacon", f"charts/{UMBRELLA}", KUBE_VERSION)
    assert done.returncode != 0
    assert "product.spec: the text of product.yaml" in done.stderr


def test_the_hook_of_the_secrets_creates_and_reads_nothing(tmp_path: Path) -> None:
    found = render(tmp_path, told_all(SHIPPED))
    (rule,) = found["Role", "beacon-secrets"]["rules"]
    assert rule == {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["create"]}
    job = found["Job", "beacon-secrets"]["spec"]["template"]["spec"]
    assert (job["serviceAccountName"], job["automountServiceAccountToken"]) == ("beacon-secrets", True)
    order = [
        found[kind, "beacon-secrets"]["metadata"]["annotations"]["helm.sh/hook-weight"] for kind in ("Role", "Job")
    ]
    assert list(map(int, order)) == sorted(map(int, order))
    # It makes each object that a pod of the others refers to.
    named = {("Secret", name) for name in OWN} | {PAIR[1]}
    made = {name for kind, name in found if kind == "ConfigMap"}
    wanted = set()
    for _, spec in pods(list(found.values())):
        for container in containers(spec):
            refs = [variable.get("valueFrom", {}).get("secretKeyRef") for variable in container.get("env", [])]
            wanted |= {("Secret", ref["name"]) for ref in refs if ref and not ref.get("optional")}
        wanted |= {("Secret", volume["secret"]["secretName"]) for volume in spec["volumes"] if "secret" in volume}
        maps = {volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume}
        wanted |= {("ConfigMap", name) for name in maps - made}
    assert wanted <= named
    assert len(wanted) > 12
    assert not [key for key in render(tmp_path, told_all(SHIPPED), "--set=secrets.create=false") if "secrets" in key[1]]


def test_a_release_with_as_much_data_as_the_values_take_is_no_larger_than_a_secret(tmp_path: Path) -> None:
    """Helm keeps manifest, values and chart as JSON, packed, in a Secret."""
    made = made_up(tmp_path / "large", entity=True)
    (source,) = made.sources
    # Digits at random, which pack worse than a table does.
    text = "".join(f"{number},{int.from_bytes(os.urandom(6)) / 7}\n" for number in range(20_000))
    source.path.write_text(f"size,price\n{text}"[:INLINE_BYTES], encoding="utf-8")
    values = told_all(made)
    assert len(values["global"]["product"]["data"]) == 1
    manifest = template(tmp_path, values).stdout
    assert manifest
    files = [file for file in CHART.rglob("*") if file.is_file() and "charts" not in file.relative_to(CHART).parts]
    chart = {file.name: base64.b64encode(file.read_bytes()).decode() for file in files}
    release = json.dumps({"manifest": manifest, "config": values, "chart": chart})
    assert len(base64.b64encode(gzip.compress(release.encode(), 9))) < RELEASE_BYTES
    source.path.write_text("x" * (INLINE_BYTES + 1), encoding="utf-8")
    assert "data" not in told_all(made)["global"]["product"]
