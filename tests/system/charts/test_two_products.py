"""Two products on one cluster: each has names, selectors, rights and roles of its own, and what they share is said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.installations import Document, chosen, key, render
from support.products import write_product
from support.rendering import KUBE_VERSION, containers, helm, pods
from support.settings import Settings

from beacon_core.commands.cluster_secrets import make_missing, wanted
from beacon_core.domain.pins import Pin
from beacon_core.platform.product_file import load_product
from beacon_promotion.targets.kubernetes.names import Names
from beacon_promotion.targets.kubernetes.pods import dark_pod
from tools.product_values import told_all

SHIPPED = load_product(Settings().product)
PIN = Pin(SHIPPED.name, "1", "a" * 64)
STORES = {"postgresql", "redis", "mlflow"}
Pair = tuple[list[Document], list[Document]]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, Document]:
    """Of the shipped product, and of one with other columns."""
    table = {"size": [1.5, 2.5], "price": [1.25, 2.25]}
    return told_all(SHIPPED), told_all(write_product(tmp_path_factory.mktemp("other"), table, "price"))


@pytest.fixture(scope="module", params=["each with its own", "one with the other's"])
def pair(request: pytest.FixtureRequest, values: tuple[Document, Document], tmp_path_factory: Any) -> Pair:
    """Two releases in one namespace: each has its own stores, or the second uses those of the first."""
    folder = tmp_path_factory.mktemp("pair")
    if request.param == "each with its own":
        return render("beacon", values[0], folder), render("housing", values[1], folder)
    products = "--set=platform.products[0].name=housing-beacon"
    return render("beacon", values[0], folder, products), render(
        "housing", values[1], folder, "--set=global.platform.name=beacon"
    )


def text_of(document: Document) -> str:
    return json.dumps(document)


def shared(mine: list[Document]) -> bool:
    return not any(document["kind"] == "StatefulSet" and "postgresql" in key(document)[2] for document in mine)


@pytest.mark.parametrize(
    ("release", "name"), [("beacon", "beacon"), ("housing", "housing-beacon"), ("my-beacon", "my-beacon")]
)
def test_the_name_follows_from_the_release(
    release: str, name: str, values: tuple[Document, Document], tmp_path: Path
) -> None:
    for document in render(release, values[0], tmp_path):
        shown = document["metadata"]["name"]
        assert shown.startswith((f"{name}-", f"shared.{name}-", f"shared-{name}-")) or shown == name, shown
        assert len(shown) <= 63


@pytest.mark.parametrize(
    ("release", "chart", "name"),
    [
        ("beacon-console", "console", "beacon-console"),
        ("console", "console", "beacon-console"),
        ("housing-beacon-console", "console", "housing-beacon-console"),
        ("housing-console", "console", "housing-beacon-console"),
        ("housing", "console", "housing-beacon-console"),
    ],
)
def test_a_chart_by_itself_finds_the_installation_in_its_release(release: str, chart: str, name: str) -> None:
    arguments = ("--values", f"charts/{chart}/ci/default-values.yaml", "--show-only=templates/console.yaml")
    done = helm("template", release, f"charts/{chart}", KUBE_VERSION, *arguments)
    assert done.returncode == 0, done.stderr
    assert f"\n  name: {name}\n" in done.stdout
    assert f"@{name.removesuffix('-console')}-postgresql:5432/" in done.stdout


def test_a_name_can_be_given_and_one_too_long_is_refused(values: tuple[Document, Document], tmp_path: Path) -> None:
    found = render("housing", values[0], tmp_path, "--set=global.fullnameOverride=homes")
    assert {"homes-inference", "homes-promotion"} <= {key(document)[2] for document in found}
    assert not [each for each in found if "beacon-" in each["metadata"]["name"]]
    for release, name in (("housing", "housing-homes"), ("my-homes", "my-homes"), ("homes", "homes")):
        found = render(release, values[0], tmp_path, "--set=global.nameOverride=homes")
        assert (f"{name}-inference", "NetworkPolicy") in {(key(each)[2], each["kind"]) for each in found}
        assert not [each for each in found if "beacon-" in each["metadata"]["name"]]
    file = tmp_path / "housing.json"
    for long in ("x" * 23, "x" * 50):  # the release's own name, with -beacon
        done = helm("template", long, "charts/beacon", KUBE_VERSION, "--values", str(file))
        assert done.returncode != 0
        assert "global.fullnameOverride: name the installation by at most 28" in done.stderr


def test_no_two_objects_share_a_name(pair: Pair) -> None:
    mine, others = ({key(document) for document in each} for each in pair)
    assert len(mine) == len(pair[0])
    assert len(others) == len(pair[1])
    assert not mine & others


def test_policies_of_the_cluster_differ_by_namespace_and_release(
    values: tuple[Document, Document], tmp_path: Path
) -> None:
    """Also where a namespace's name and a release's would together be another pair's."""
    found = [
        {key(each) for each in render(release, values[0], tmp_path, namespace=namespace) if not key(each)[1]}
        for namespace, release in (("a", "b-beacon"), ("a-b", "beacon"), ("a", "beacon"), ("b", "beacon"))
    ]
    assert [len(each) for each in found] == [4] * 4
    assert len(set().union(*found)) == 16


def test_no_selector_of_one_chooses_a_pod_of_the_other(pair: Pair) -> None:
    one, other = pair
    assert chosen(one, one)
    assert chosen(other, other)
    if not shared(other):
        assert chosen(one, other) == chosen(other, one) == set()
        return
    # The shared stores let the other's pods in, and the other's pods may go there; nothing else meets.
    in_, out = chosen(one, other), chosen(other, one)
    assert {(where, to) for where, to, _ in in_} == {("NetworkPolicy.ingress", store) for store in STORES}
    assert {(where, to) for where, _, to in out} == {("NetworkPolicy.egress", store) for store in STORES}
    # MLflow and the store's login are the pods' that say so, as within one installation.
    reaches = {name for _, to, name in in_ if to == "redis"}
    assert reaches == {"feature-serving", "materialize", "retraining", "retention"}


def test_a_pod_of_promotion_is_its_own_installations(pair: Pair) -> None:
    for mine, others in (pair, pair[::-1]):
        (deployment,) = [each for each in mine if each["kind"] == "Deployment" and key(each)[2].endswith("-inference")]
        pod = dark_pod("x", PIN, deployment["spec"]["template"] | {"spec": {"containers": []}})
        assert chosen(mine, [pod])
        assert not {each for each in chosen(others, [pod]) if each[1] not in STORES}


def test_what_pods_name_is_their_own(pair: Pair) -> None:
    """Secrets, ConfigMaps, claims and hosts: of the other installation those of the shared stores alone."""
    for mine, name in zip(pair, ("beacon", "housing-beacon"), strict=True):
        stores = "beacon" if shared(mine) else name
        allowed = {stores, *(f"{stores}-{each}" for each in (*STORES, "mlflow-reader", "mlflow-writer"))}
        for labels, spec in pods(mine):
            if labels["app.kubernetes.io/name"] == "postgresql":
                continue  # it has the passwords of all of its products
            named = set(re.findall(r'"(?:name|claimName|secretName)": "([a-z.-]+)"', text_of(spec["volumes"])))
            for container in containers(spec):
                for variable in container.get("env", []):
                    named |= {each["name"] for each in [variable.get("valueFrom", {}).get("secretKeyRef")] if each}
                    named |= set(re.findall(r"(?:://|@|^)([a-z-]*beacon[a-z-]*):\d", variable.get("value", "")))
            ours = {each for each in named if "beacon" in each}
            assert {each for each in ours if each != name and not each.startswith(f"{name}-")} <= allowed
            if name != "beacon":
                assert not {each for each in ours if each.startswith("beacon")} - allowed


def test_the_database_and_its_roles_are_the_installations_own(pair: Pair) -> None:
    users = []
    for mine, role in zip(pair, ("beacon", "housing_beacon"), strict=True):
        urls = [
            variable["value"]
            for _, spec in pods(mine)
            for container in containers(spec)
            for variable in container.get("env", [])
            if variable["name"] == "BEACON_DATABASE_URL"
        ]
        assert len(urls) > 8
        assert {url.rpartition("/")[2] for url in urls} == {role}
        users.append({url.partition("://")[2].partition("@")[0] for url in urls})
        assert all(user.startswith(f"{role}_") for user in users[-1])
    assert not users[0] & users[1]


def test_promotions_rights_end_at_its_own(pair: Pair) -> None:
    everything = [key(document)[2] for each in pair for document in each]
    for mine, name in zip(pair, ("beacon", "housing-beacon"), strict=True):
        own = Names(name)
        (role,) = [each for each in mine if each["kind"] == "Role" and key(each)[2] == own.promotion]
        named = {each for rule in role["rules"] for each in rule.get("resourceNames", [])}
        assert named == {own.promotion, own.inference, own.canary, own.dark(0), own.dark(1)}
        others = {each for each in everything if not each.startswith(f"{name}-")}
        assert not named & others
        assert own.inference in everything
        (binding,) = [each for each in mine if each["kind"] == "RoleBinding" and key(each)[2] == own.promotion]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": own.promotion, "namespace": "shared"}]
        policies = [each for each in mine if each["kind"] == "ValidatingAdmissionPolicy"]
        assert len(policies) == 2
        for policy in policies:
            assert f"system:serviceaccount:shared:{own.promotion}'" in text_of(policy)
            quoted = set(re.findall(r"'([a-z-]*beacon-[a-z0-9-]+)'", text_of(policy["spec"]["validations"])))
            assert all(each.startswith(f"{name}-") for each in quoted)
        (job,) = [each for each in mine if each["kind"] == "CronJob" and key(each)[2] == own.promotion]
        (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        told = {each["name"]: each.get("value") for each in container["env"]}
        assert told.get("BEACON_INSTALLATION", "beacon") == name


def test_the_hook_makes_the_secrets_that_the_pods_name(pair: Pair) -> None:
    class Nothing:
        made: list[tuple[str, str]]

        def there(self, names: Any) -> set[Any]:
            self.made = []
            return set()

        def create(self, made: Document) -> None:
            self.made.append((made["kind"], made["metadata"]["name"]))

    objects = Nothing()
    make_missing(objects, "housing-beacon")
    assert set(objects.made) == set(wanted("housing-beacon"))
    assert not set(wanted("housing-beacon")) & set(wanted())
    (job,) = [each for each in pair[1] if key(each)[0] == "Job" and key(each)[2] == "housing-beacon-secrets"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": "BEACON_INSTALLATION", "value": "housing-beacon"} in container["env"]
    secrets = {
        variable["valueFrom"]["secretKeyRef"]["name"]
        for _, spec in pods(pair[1])
        for container in containers(spec)
        for variable in container.get("env", [])
        if "secretKeyRef" in variable.get("valueFrom", {}) and not variable["valueFrom"]["secretKeyRef"].get("optional")
    }
    assert {each for each in secrets if each.startswith("housing")} <= {name for _, name in wanted("housing-beacon")}


def test_features_in_a_shared_redis_are_the_installations_own(pair: Pair) -> None:
    for mine, name in zip(pair, ("beacon", "housing-beacon"), strict=True):
        told = [
            {each["name"]: each.get("value") for each in container.get("env", [])}
            for _, spec in pods(mine)
            for container in containers(spec)
        ]
        using = [each.get("BEACON_INSTALLATION", "beacon") for each in told if "REDIS_CONNECTION" in each]
        assert len(using) > 4
        assert set(using) == {name}


def test_the_platform_makes_the_roles_of_its_products_from_their_secrets(pair: Pair) -> None:
    if not shared(pair[1]):
        pytest.skip("each has its own server")
    (server,) = [each for each in pair[0] if key(each)[0] == "StatefulSet" and key(each)[2] == "beacon-postgresql"]
    volumes = {each["name"]: each for each in server["spec"]["template"]["spec"]["volumes"]}
    sources = [each["secret"] for each in volumes["products"]["projected"]["sources"]]
    assert {each["name"] for each in sources} == {
        name for kind, name in wanted("housing-beacon") if kind == "Secret" and "-database-" in name
    } - {"housing-beacon-database-mlflow"}
    assert all(each["optional"] for each in sources)
    # Nothing of the second release is a store.
    assert not [each for each in pair[1] if each["kind"] == "StatefulSet" and key(each)[2].rpartition("-")[2] in STORES]


def test_a_platform_in_another_namespace_is_asked_there_and_lets_that_namespace_in(
    values: tuple[Document, Document], tmp_path: Path
) -> None:
    products = "--set=platform.products[0].name=housing-beacon,platform.products[0].namespace=homes"
    platform = render("beacon", values[0], tmp_path, products, namespace="stores")
    where = "--set=global.platform.name=beacon,global.platform.namespace=stores"
    housing = render("housing", values[1], tmp_path, where, namespace="homes")
    assert {(one, to) for one, to, _ in chosen(platform, housing, "homes")} == {
        ("NetworkPolicy.ingress", store) for store in STORES
    }
    assert {(one, to) for one, _, to in chosen(housing, platform, "stores")} == {
        ("NetworkPolicy.egress", store) for store in STORES
    }
    hosts = set(re.findall(r"beacon-(?:postgresql|redis|mlflow)\.stores", json.dumps(housing)))
    assert hosts == {f"beacon-{store}.stores" for store in STORES}


def test_nothing_is_left_of_the_names_in_values(pair: Pair) -> None:
    for mine in pair:
        assert not re.findall(r"\$\((?:name|role|platform|postgresql|redis|mlflow)\)", json.dumps(mine))
