"""Every chart takes the product from its values: no image holds one, and what reads it starts anew when it changes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.products import POLICY, SPEC, write_product
from support.rendering import containers, documents_of, pods, template

from beacon_core.domain.policy import Retraining
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.deploy import NEED_NO_PRODUCT, RELEASES, Cluster, services
from tools.product_values import DATA_BYTES, NEED_AN_ENTITY, data_files

CHARTS = [name for name in RELEASES if name not in NEED_NO_PRODUCT]
FOLDER = "/etc/beacon-product"


def render(chart: str, tmp_path: Path, values: dict[str, Any], *options: str) -> list[dict[str, Any]]:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    done = template(chart, "--values", f"charts/{chart}/ci/default-values.yaml", "--values", str(file), *options)
    assert done.returncode == 0, done.stderr
    return documents_of(done.stdout)


def told(product: Product, chart: str) -> dict[str, Any]:
    return Cluster("beacon", "", "1", None, product).product_values(chart)


def reading(documents: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pod templates (metadata, spec) that mount the product."""
    found = []
    for document in documents:
        spec = document.get("spec", {})
        holder = spec.get("jobTemplate", {}).get("spec", spec) if document["kind"] == "CronJob" else spec
        pod = holder.get("template", {})
        if [volume for volume in pod.get("spec", {}).get("volumes", []) if volume["name"] == "product"]:
            found.append((pod["metadata"], pod["spec"]))
    return found


@pytest.mark.parametrize("chart", CHARTS)
def test_the_products_files_are_mounted_as_they_are(chart: str, tmp_path: Path, product: Product) -> None:
    documents = render(chart, tmp_path, told(product, chart))
    (config,) = [item for item in documents if item["metadata"]["name"] == f"beacon-{chart}-product"]
    assert config["data"] == {"product.yaml": SPEC.read_text(), "policy.yaml": POLICY.read_text()}
    found = reading(documents)
    assert found
    for metadata, spec in found:
        assert metadata["annotations"]["beacon/product"]
        for container in containers(spec):
            variables = {one["name"]: one.get("value") for one in container["env"]}
            assert variables["BEACON_PRODUCT"] == f"{FOLDER}/product.yaml"
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounts["product"] == FOLDER
        (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "product"]
        assert {"configMap": {"name": f"beacon-{chart}-product"}} in volume["projected"]["sources"]


@pytest.mark.parametrize("chart", CHARTS)
def test_who_runs_before_the_charts_objects_needs_no_product(chart: str, tmp_path: Path, product: Product) -> None:
    for labels, spec in pods(render(chart, tmp_path, told(product, chart))):
        if labels["app.kubernetes.io/name"].endswith("-migration"):
            assert "product" not in {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("file", ["spec", "policy"])
def test_a_changed_file_rolls_what_reads_it(chart: str, file: str, tmp_path: Path, product: Product) -> None:
    def marks(values: dict[str, Any]) -> list[str]:
        return [metadata["annotations"]["beacon/product"] for metadata, _ in reading(render(chart, tmp_path, values))]

    values = told(product, chart)
    before = marks(values)
    assert before == marks(values)
    values["product"][file] += "# more\n"
    assert not set(before) & set(marks(values))


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_without_a_product_says_what_it_needs(chart: str) -> None:
    values = f"charts/{chart}/ci/default-values.yaml"
    done = template(chart, "--values", values, "--set", "product.spec=")
    assert done.returncode != 0
    assert "product.spec: the text of product.yaml" in done.stderr


@pytest.fixture(params=["none", None])
def without_entity(request: pytest.FixtureRequest, tmp_path: Path) -> Product:
    """A product without an entity, whether it says so or leaves the key out."""
    made = write_product(tmp_path / "alone", {"size": [1.5, 2.5], "price": [1.25, 2.25]}, "price", entity="none")
    raw = yaml.safe_load(made.file.read_text(encoding="utf-8"))
    kept = {key: value for key, value in raw.items() if key != "entity" or request.param}
    made.file.write_text(yaml.safe_dump(kept), encoding="utf-8")
    return load_product(made.file)


@pytest.mark.parametrize("chart", [name for name in CHARTS if name not in NEED_AN_ENTITY])
def test_a_product_without_an_entity_is_rendered(chart: str, tmp_path: Path, without_entity: Product) -> None:
    assert reading(render(chart, tmp_path, told(without_entity, chart)))


def test_feature_serving_is_refused_without_an_entity(tmp_path: Path, without_entity: Product) -> None:
    for chart in NEED_AN_ENTITY:
        file = tmp_path / "values.json"
        file.write_text(json.dumps(told(without_entity, chart)), encoding="utf-8")
        done = template(chart, "--values", f"charts/{chart}/ci/default-values.yaml", "--values", str(file))
        assert done.returncode != 0
        assert "product.spec: the product has no entity" in done.stderr


def test_deploy_leaves_feature_serving_out_without_an_entity(product: Product, without_entity: Product) -> None:
    def installed(of: Product) -> list[str]:
        found: list[str] = []

        class Recorder(Cluster):
            def upgrade(self, name: str, *options: str) -> None:
                found.append(name)

            def helm(self, verb: str, name: str, *arguments: str, **options: Any) -> str:
                found.append(f"{verb} {name}")
                return ""

            def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
                return ""

        services(Recorder("beacon", "", "1", None, of))
        return found

    assert "feature-serving" in installed(product)
    assert not [step for step in installed(product) if step.startswith("uninstall")]
    assert "feature-serving" not in installed(without_entity)
    assert "uninstall feature-serving" in installed(without_entity)


def test_what_a_product_without_an_entity_lacks_is_not_missed(
    tmp_path: Path, product: Product, without_entity: Product
) -> None:
    for one, is_there in ((product, True), (without_entity, False)):
        configs = {
            item["metadata"]["name"]: json.dumps(item["data"])
            for item in render("monitoring", tmp_path, told(one, "monitoring"))
            if item["kind"] == "ConfigMap"
        }
        scraped, rules = configs["beacon-prometheus-config"], configs["beacon-prometheus-rules"]
        assert ("beacon-feature-serving-pods" in scraped) is is_there
        missed = set(re.findall(r"absent\(beacon_build_info\{[^}]*service=\W*([a-z-]+)", rules))
        assert missed == {"inference", "prediction-log", "console"} | ({"feature-serving"} if is_there else set())


def test_the_registered_model_is_called_as_the_product(tmp_path: Path, product: Product) -> None:
    def names(values: dict[str, Any]) -> set[str]:
        found = [
            metadata["annotations"]["beacon/release"] for metadata, _ in reading(render("inference", tmp_path, values))
        ]
        return {json.loads(text)["model"]["name"] for text in found}

    values = told(product, "inference")
    assert names(values) == {product.name}
    assert names(values | {"model": {"name": "another"}}) == {"another"}


def test_retraining_runs_when_the_policy_says(tmp_path: Path, product: Product) -> None:
    def schedule(values: dict[str, Any]) -> str:
        documents = render("retraining", tmp_path, values)
        (job,) = [
            item for item in documents if item["metadata"]["name"] == "beacon-retraining" and item["kind"] == "CronJob"
        ]
        return str(job["spec"]["schedule"])

    values = told(product, "retraining")
    policy = yaml.safe_load(values["product"]["policy"])
    assert schedule(values) == product.policy.retraining.schedule
    policy["retraining"]["schedule"] = "30 4 1 * *"
    values["product"]["policy"] = yaml.safe_dump(policy)
    assert schedule(values) == "30 4 1 * *"
    assert schedule(values | {"schedule": {"schedule": "5 5 * * *"}}) == "5 5 * * *"
    for silent in ("", "retraining: {cooldown_hours: 1}"):
        values["product"]["policy"] = silent
        assert schedule(values) == Retraining().schedule


def test_small_data_files_are_mounted_where_the_product_looks(tmp_path: Path, product: Product) -> None:
    (source,) = product.sources
    assert data_files(product) == {"data-0": Path(source.sample)}
    for _, spec in reading(render("retraining", tmp_path, told(product, "retraining"))):
        (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "product"]
        items = [item for source in volume["projected"]["sources"] for item in source["configMap"].get("items", [])]
        assert items == [{"key": "data-0", "path": source.sample}]


def test_every_file_of_every_source_is_brought(tmp_path: Path) -> None:
    one = write_product(tmp_path, {"size": [1.5, 2.5], "price": [1.25, 2.25]}, "price")
    files = ["items.csv", "more/a.csv", "more/b.csv"]
    for name in files[1:]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((tmp_path / files[0]).read_text(), encoding="utf-8")
    raw = yaml.safe_load(one.file.read_text(encoding="utf-8"))
    far = {"https": "https://data.example.com/items.csv"}
    sources = [raw["source"], {"folder": "more", "pattern": "*.csv"}, far]
    one.file.write_text(yaml.safe_dump(raw | {"source": sources}), encoding="utf-8")
    assert data_files(load_product(one.file)) == {f"data-{n}": Path(name) for n, name in enumerate(files)}
    one.file.write_text(yaml.safe_dump(raw | {"source": far}), encoding="utf-8")
    assert data_files(load_product(one.file)) == {}


def test_data_that_no_config_map_holds_stays_away(tmp_path: Path) -> None:
    rows = DATA_BYTES // 8
    large = write_product(tmp_path, {"size": [1.5] * rows, "price": [1.25] * rows}, "price")
    (source,) = large.sources
    assert source.path.stat().st_size > DATA_BYTES
    assert data_files(large) == {}
    source.path.unlink()
    assert data_files(large) == {}


def test_a_product_of_many_features_is_rendered_whole(tmp_path: Path) -> None:
    table = {f"größe_{number}": [1.0, 2.0] for number in range(1000)} | {"price": [1.0, 2.0]}
    wide = write_product(tmp_path / "wide", table, "price")
    documents = render("console", tmp_path, told(wide, "console"))
    (config,) = [item for item in documents if item["metadata"]["name"] == "beacon-console-product"]
    (tmp_path / "product.yaml").write_text(config["data"]["product.yaml"], encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(config["data"]["policy.yaml"], encoding="utf-8")
    assert load_product(tmp_path / "product.yaml").features == wide.features


def test_no_image_holds_a_product() -> None:
    for file in ROOT.glob("services/*/Dockerfile"):
        copied = re.findall(r"^COPY (?!--from)(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert [
            line for line in copied if "product" in line or "sample" in line or line.startswith("feature_repo ")
        ] == []
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert {"feature_repo", "products"} & set(let_in) == set()
