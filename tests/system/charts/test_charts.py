"""What every chart must be, whatever set of values of its ci/ folder it gets."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.rendering import CASES, KUBE_VERSION, containers, helm, pods, rendered, template

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, Settings
from tools.deploy import BY_HAND, IMAGES, RELEASES
from tools.product_values import UMBRELLA
from tools.schema import charts, files_of, read

SHIPPED = load_product(Settings().product)
BESIDES = {"prediction-log-metrics": "inference"}
"""What listens in the pods of another component."""
# The arrows of docs/explanation/architecture.md: who opens a connection to whom.
ARROWS = {
    "inference": {"feature-serving", "postgresql", "mlflow"},
    "inference-migration": {"postgresql"},
    "inference-golden": {"inference", "mlflow"},
    "feature-serving": {"redis"},
    "materialize": {"redis", "postgresql"},
    "retraining": {"postgresql", "redis", "mlflow"},
    "retraining-migration": {"postgresql"},
    "retention": {"postgresql", "redis", "mlflow"},
    "drift-profiling": {"postgresql"},
    "drift-profiling-migration": {"postgresql"},
    "console": {"inference", "inference-metrics", "mlflow", "postgresql"},
    "promotion": {"inference", "inference-metrics", "inference-dark", "inference-dark-metrics", "mlflow", "postgresql"},
    "promotion-migration": {"postgresql"},
    "mlflow": {"postgresql"},
    "kafka-to-lake": {"postgresql"},
    "prometheus": {
        "inference-metrics",
        "prediction-log-metrics",
        "kafka-to-lake-metrics",
        "feature-serving-metrics",
        "console-metrics",
        "prober",
        "alertmanager",
    },
    "alertmanager": set(),
    "prober": {"inference", "mlflow"},
    "postgresql": set(),
    "redis": set(),
}
DARK = {"inference-dark": {"mlflow"}}
"""Pods that promotion makes itself, and the arrows that its chart draws for them."""
TOKENS = {"promotion", "secrets"}
"""Who asks the Kubernetes API, and so has a token and rights."""
# What promotion may do, whole: a right more or less is a decision. No right is on Secrets.
INFERENCE, CANARY = "beacon-inference", "beacon-inference-canary"
PROMOTION_RIGHTS = {
    ("", "configmaps", ""): "create delete get list patch update",
    ("", "pods", ""): "create get list",
    ("", "pods", "beacon-inference-dark-0"): "delete",
    ("", "pods", "beacon-inference-dark-1"): "delete",
    ("", "pods/log", "beacon-inference-dark-0"): "get",
    ("", "pods/log", "beacon-inference-dark-1"): "get",
    ("", "services", ""): "create",
    ("", "services", INFERENCE): "get patch",
    ("", "services", "beacon-inference-pods"): "get patch",
    ("", "services", "beacon-prediction-log-pods"): "get patch",
    ("", "services", CANARY): "delete get patch",
    ("apps", "deployments", ""): "create",
    ("apps", "deployments", INFERENCE): "get patch",
    ("apps", "deployments", CANARY): "delete get patch",
    ("apps", "replicasets", ""): "list",
    ("autoscaling", "horizontalpodautoscalers", INFERENCE): "get patch",
    ("coordination.k8s.io", "leases", ""): "create",
    ("coordination.k8s.io", "leases", "beacon-promotion"): "get update",
    ("gateway.networking.k8s.io", "httproutes", INFERENCE): "get patch",
    ("gateway.networking.k8s.io", "httproutes", f"{INFERENCE}-to-https"): "get patch",
    ("keda.sh", "scaledobjects", INFERENCE): "get patch",
    ("monitoring.coreos.com", "servicemonitors", INFERENCE): "get patch",
    ("networking.k8s.io", "ingresses", INFERENCE): "get patch",
    ("networking.k8s.io", "networkpolicies", INFERENCE): "get patch",
    ("policy", "poddisruptionbudgets", INFERENCE): "get patch",
}


def test_every_chart_has_values_to_be_tested_with() -> None:
    assert {chart for chart, _ in CASES} == {folder.name for folder in charts()}
    assert len(CASES) >= 12


ABOUT_KEYS = {"BEACON_API_KEYS_FILE", "BEACON_MODEL_KEYS_FILE", "BEACON_MODEL_SIGNING_KEY_FILE"}
"""Where their file lies is no secret."""


@pytest.mark.parametrize(("chart", "values"), CASES)
def test_lint_finds_nothing(chart: str, values: str) -> None:
    done = helm("lint", "--strict", f"charts/{chart}", "--values", f"charts/{chart}/ci/{values}", KUBE_VERSION)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("chart", "values"), CASES)
def test_pods_are_hardened(chart: str, values: str) -> None:
    for labels, spec in pods(rendered(chart, values)):
        name = labels["app.kubernetes.io/name"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is (name in TOKENS and "serviceAccountName" in spec), name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume]
        for container in containers(spec):
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            assert re.search(r"[:@][^/]+$", container["image"]), container["image"]


@pytest.mark.parametrize(("chart", "values"), CASES)
def test_references_inside_a_pod_resolve(chart: str, values: str) -> None:
    documents = rendered(chart, values)
    claims = {
        claim["metadata"]["name"]
        for document in documents
        for claim in document.get("spec", {}).get("volumeClaimTemplates", [])
    }
    for _, spec in pods(documents):
        volumes = {volume["name"] for volume in spec["volumes"]} | claims
        for container in containers(spec):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if "httpGet" in container.get(probe, {}):
                    assert container[probe]["httpGet"]["port"] in ports
            written = [variable["name"] for variable in container.get("env", [])]
            assert len(written) == len(set(written))


@pytest.mark.parametrize(("chart", "values"), CASES)
def test_no_secret_is_rendered(chart: str, values: str) -> None:
    documents = rendered(chart, values)
    assert "Secret" not in {document["kind"] for document in documents}
    for _, spec in pods(documents):
        for container in containers(spec):
            for variable in container.get("env", []):
                if re.search("PASSWORD|TOKEN|KEY", variable["name"]) and variable["name"] not in ABOUT_KEYS:
                    assert "valueFrom" in variable, variable


@pytest.mark.parametrize(("chart", "values"), CASES)
def test_a_selector_holds_nothing_that_changes(chart: str, values: str) -> None:
    for document in rendered(chart, values):
        selector = document.get("spec", {}).get("selector")
        if document["kind"] in {"Deployment", "StatefulSet"}:
            labels = document["spec"]["template"]["metadata"]["labels"]
            assert selector["matchLabels"].items() <= labels.items()
            assert not [name for name in selector["matchLabels"] if "version" in name or "chart" in name]


def test_batch_scoring_asks_the_store_and_feature_serving_alone() -> None:
    """It is off by default; its values of ci/ score by entity, and log."""
    found = {
        labels["app.kubernetes.io/name"]: labels for labels, _ in pods(rendered("retraining", "scoring-values.yaml"))
    }
    reaches = {key.partition("/")[2] for key in found["scoring"] if key.startswith("reach.beacon/")}
    assert reaches == {"postgresql", "feature-serving"}
    assert "scoring" not in {
        labels["app.kubernetes.io/name"] for labels, _ in pods(rendered("retraining", "default-values.yaml"))
    }


def test_only_the_drawn_arrows_are_open() -> None:
    found: dict[str, set[str]] = {}
    policies: dict[str, dict[str, Any]] = {}
    for chart in (*RELEASES, *BY_HAND):
        documents = rendered(chart, "default-values.yaml")
        for labels, _ in pods(documents):
            reaches = {key.partition("/")[2] for key in labels if key.startswith("reach.beacon/")}
            found.setdefault(labels["app.kubernetes.io/name"], set()).update(reaches)
        for document in documents:
            if document["kind"] == "NetworkPolicy":
                policies[document["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]] = document["spec"]
    assert found == ARROWS
    # Every pod has a policy that closes both ways, and so have hooks and tests.
    assert found.keys() | DARK.keys() == policies.keys()
    for name, policy in policies.items():
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        opened = {
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
            for rule in policy["egress"]
            for peer in rule.get("to", [])
            if "podSelector" in peer
        }
        targets = (ARROWS | DARK)[name]
        assert opened == {BESIDES.get(target, target.removesuffix("-metrics")) for target in targets}, name


@pytest.mark.parametrize("chart", [*RELEASES, *BY_HAND])
def test_a_misspelt_value_is_refused_wherever_it_is(chart: str) -> None:
    values = read(ROOT / "charts" / chart / "values.yaml")
    maps = {()} | {value.path[:-1] for value in values}
    assert len(maps) > 3
    for path in maps:
        misspelt = ".".join((*path, "misspelt"))
        file = f"charts/{chart}/ci/default-values.yaml"
        done = template(chart, "--values", file, "--set", f"{misspelt}=1")
        assert done.returncode != 0, misspelt
        assert "misspelt" in done.stderr, done.stderr


def test_a_value_of_the_wrong_form_is_refused() -> None:
    for wrong in ("replicas=two", "model.sha256=abc", "image.pullPolicy=Sometimes", "ingress.paths[0]=v1"):
        done = template("inference", "--values", "charts/inference/ci/default-values.yaml", "--set", wrong)
        assert done.returncode != 0, wrong
        assert wrong.partition("=")[0].split(".")[-1].partition("[")[0] in done.stderr, done.stderr


def test_what_is_required_is_named() -> None:
    done = template("inference", "--set-string", "product.spec=name: example")
    assert done.returncode != 0
    assert "model.version: which version to serve" in done.stderr
    done = template("console")
    assert "product.spec: the text of product.yaml" in done.stderr


@pytest.mark.parametrize("chart", [*RELEASES, *BY_HAND])
def test_an_image_without_a_tag_is_that_of_the_charts_release(chart: str) -> None:
    values = f"--values=charts/{chart}/ci/default-values.yaml"
    version = yaml.safe_load((ROOT / "charts" / chart / "Chart.yaml").read_text())["appVersion"]

    def tags(*arguments: str) -> set[str]:
        own = [f"--set-string={image}.tag=" for image in IMAGES.get(chart, {"image": chart})]
        done = template(chart, values, *own, *arguments)
        assert done.returncode == 0, done.stderr
        specs = [spec for _, spec in pods([each for each in yaml.safe_load_all(done.stdout) if each])]
        found = {container["image"] for spec in specs for container in containers(spec)}
        return {each.rpartition(":")[2] for each in found if "beacon-" in each}

    assert tags() == {version}
    assert tags("--set=global.tag=v7") == {"v7"}
    assert not tags("--set=global.tag=v7,global.registry=r.example/x/") ^ {"v7"}


def test_schemas_and_tables_are_those_of_the_values() -> None:
    for folder in charts():
        for file, text in files_of(folder).items():
            assert file.read_text(encoding="utf-8") == text, f"{file.relative_to(ROOT)}: run `make charts`"


def test_a_change_of_model_is_a_rollout_and_nothing_else() -> None:
    def pod(version: str) -> dict[str, Any]:
        done = template(
            "inference",
            "--values",
            "charts/inference/ci/default-values.yaml",
            "--set-string",
            f"model.version={version}",
        )
        assert done.returncode == 0, done.stderr
        documents = [document for document in yaml.safe_load_all(done.stdout) if document]
        found: dict[str, Any] = next(item for item in documents if item["kind"] == "Deployment")["spec"]["template"]
        return found

    old, new = pod("1"), pod("2")
    assert old["metadata"].pop("annotations") != new["metadata"].pop("annotations")
    assert old == new


def test_promotion_has_exactly_the_rights_that_were_decided() -> None:
    for values in ("default-values.yaml", "guarded-values.yaml"):
        documents = rendered("promotion", values)
        assert not [document for document in documents if document["kind"].startswith("Cluster")]
        roles = [document for document in documents if document["kind"] == "Role"]
        found: dict[tuple[str, str, str], set[str]] = {}
        for rule in roles[0]["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for name in rule.get("resourceNames", [""]):
                        found.setdefault((group, resource, name), set()).update(rule["verbs"])
        assert len(roles) == 1
        assert {key: " ".join(sorted(verbs)) for key, verbs in found.items()} == PROMOTION_RIGHTS
    # Each object that inference's chart makes can be read and patched: Helm does both to all of them.
    for values in ("default-values.yaml", "everything-values.yaml", "canary-values.yaml"):
        for document in rendered("inference", values):
            if "helm.sh/hook" in document["metadata"].get("annotations", {}):
                continue
            kind, name = document["kind"].lower(), document["metadata"]["name"]
            plural = re.sub("y$", "ie", kind) + "s" if not kind.endswith("ss") else f"{kind}es"
            group = document["apiVersion"].rpartition("/")[0]
            allowed = PROMOTION_RIGHTS.get((group, plural, name)) or PROMOTION_RIGHTS[group, plural, ""]
            assert {"get", "patch"} <= set(allowed.split()), f"{kind} {name}"


def test_a_canary_is_one_more_deployment_and_changes_nothing_of_the_others() -> None:
    def objects(*arguments: str) -> dict[tuple[str, str], dict[str, Any]]:
        done = template("inference", "--values", "charts/inference/ci/default-values.yaml", *arguments)
        assert done.returncode == 0, done.stderr
        documents = [document for document in yaml.safe_load_all(done.stdout) if document]
        return {(document["kind"], document["metadata"]["name"]): document for document in documents}

    pinned = ["--set-string", f"canary.version=9,canary.sha256={'c' * 64}"]
    gateway = ["--set", "gateway.enabled=true,gateway.name=web"]
    name = ("Deployment", "beacon-inference-canary")
    for way, service in (([], "beacon-inference"), (gateway, "beacon-inference-canary")):
        alone, both = objects(*way), objects(*way, *pinned, "--set", "canary.weight=20")
        new = both.keys() - alone.keys()
        assert new == {name} | ({("Service", service)} if way else set())
        changed = {key for key in alone if alone[key] != both[key]}
        assert changed == ({("HTTPRoute", "beacon-inference")} if way else set())
        labels = both[name]["spec"]["template"]["metadata"]["labels"]
        main = both["Deployment", "beacon-inference"]["spec"]
        # Neither Deployment counts the other's pods, and the Service that answers sends to these ones, too.
        assert not main["selector"]["matchLabels"].items() <= labels.items()
        canary = both[name]["spec"]["selector"]["matchLabels"]
        assert not canary.items() <= main["template"]["metadata"]["labels"].items()
        assert both["Service", service]["spec"]["selector"].items() <= labels.items()
        policy = both["NetworkPolicy", "beacon-inference"]["spec"]["podSelector"]["matchLabels"]
        assert policy.items() <= labels.items()
        assert (both["Service", "beacon-inference"]["spec"]["selector"].items() <= labels.items()) is not bool(way)
    backends = both["HTTPRoute", "beacon-inference"]["spec"]["rules"][0]["backendRefs"]
    assert [(backend["name"], backend["weight"]) for backend in backends] == [
        ("beacon-inference", 80),
        ("beacon-inference-canary", 20),
    ]


def test_a_shadow_answers_only_beside_the_model_in_service() -> None:
    deployments = {
        document["metadata"]["name"]: json.loads(
            document["spec"]["template"]["metadata"]["annotations"]["beacon/release"]
        )
        for document in rendered("inference", "canary-values.yaml")
        if document["kind"] == "Deployment"
    }
    assert deployments["beacon-inference"]["model"]["version"] == "1"
    assert "shadow" not in deployments["beacon-inference"]
    canary = deployments["beacon-inference-canary"]
    assert (canary["model"]["version"], canary["shadow"]["version"]) == ("1", "2")


def test_charts_services_images_skaffold_and_documents_name_the_same() -> None:
    releases = {folder.name for folder in charts()}
    # No release of `make deploy` or skaffold has it: jobs on Spark and the topic's consumer do.
    images = {file.parent.name for file in (ROOT / "services").glob("*/Dockerfile")} - {"spark"}
    assert set(RELEASES) == releases - {UMBRELLA} - BY_HAND
    assert images == {file.parent.name for file in (ROOT / "services").glob("*/README.md")} - {
        "cli",
        "client",
        "core",
        "laptop",
        "prober",
        "spark",
    }
    assert set(RELEASES) == images - {"prediction-log"} | {"platform", "monitoring"}, (
        "it is a container of inference's pods"
    )
    makefile = (ROOT / "Makefile").read_text()
    line = re.search(r"^SERVICES := (.*)$", makefile, re.MULTILINE)
    assert line is not None
    assert set(line[1].split()) == images
    packages = {file.parent.name for file in (ROOT / "services").glob("*/pyproject.toml")}
    assert packages == images | {"cli", "client", "core", "laptop", "prober", "spark"}
    skaffold = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    assert {artifact["image"] for artifact in skaffold["build"]["artifacts"]} == {f"beacon-{name}" for name in images}
    assert [each["chartPath"] for each in skaffold["deploy"]["helm"]["releases"]] == [f"charts/{UMBRELLA}"]
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
    assert [name for name in RELEASES if f"`{name}`" not in page] == []
    readme = (ROOT / "README.md").read_text()
    assert [name for name in images if f"(services/{name})" not in readme] == []


@pytest.mark.parametrize("name", ["inference", "console"])
@pytest.mark.parametrize("prefix", ["", "/beacon", "/ml/beacon-1"])
def test_a_service_below_a_path_is_asked_there_and_knows_it(name, prefix):
    """Whatever the controller does with the path: the service takes it off itself."""
    given = ["ingress.enabled=true", f"ingress.prefix={prefix}", "gateway.enabled=true", "gateway.name=web"]
    given = given if name == "inference" else given[:2]
    options = [word for value in given for word in ("--set", value)]
    required = ["--values", f"charts/{name}/ci/{'default' if name == 'inference' else 'ingress'}-values.yaml"]
    done = template(name, *required, *options)
    assert done.returncode == 0, done.stderr
    documents = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(done.stdout) if each}
    rules = documents["Ingress", f"beacon-{name}"]["spec"]["rules"]
    paths = [rule["http"]["paths"][0]["path"] for rule in rules]
    if name == "inference":
        wanted = [f"{prefix}{path}" for path in ("/v1", "/v2", "/invocations", "/docs", "/openapi.json")]
        (route,) = documents["HTTPRoute", "beacon-inference"]["spec"]["rules"]
        assert [match["path"]["value"] for match in route["matches"]] == wanted
    else:
        wanted = [prefix or "/"]
    assert paths == wanted
    container = documents["Deployment", f"beacon-{name}"]["spec"]["template"]["spec"]["containers"][0]
    told = {each["name"]: each.get("value") for each in container["env"]}.get("BEACON_PATH_PREFIX", "")
    assert told == prefix


def test_a_path_that_would_lead_elsewhere_is_refused():
    for prefix in ("beacon", "//beacon", "/beacon/", "/a b", "https://a"):
        for name in ("inference", "console"):
            done = template(
                name, "--values", f"charts/{name}/ci/default-values.yaml", "--set", f"ingress.prefix={prefix}"
            )
            assert done.returncode != 0, prefix
            assert "prefix" in done.stderr


@pytest.mark.parametrize("file", sorted((ROOT / "charts").glob("*/Chart.yaml")), ids=lambda file: file.parent.name)
def test_every_chart_says_who_keeps_it_and_what_it_is_about(file: Path) -> None:
    """Where it comes from is a release's to say (tests/system/release): a checkout may be anybody's."""
    told = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert told["maintainers"]
    assert len(set(told["keywords"])) == len(told["keywords"]) >= 4
    assert told["annotations"]["artifacthub.io/license"] == "Apache-2.0"
    assert not told.keys() & {"home", "sources", "icon"}
