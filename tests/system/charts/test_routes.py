"""An HTTPRoute for each service that people outside of the cluster may ask, all from one template."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.installations import render as render_umbrella
from support.rendering import documents_of, template
from support.settings import Settings

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.product_values import told_all

PAGE = (ROOT / "docs" / "how-to" / "clusters.md").read_text(encoding="utf-8")
PUBLIC = {
    "inference": ("inference", "gateway", 8080),
    "console": ("console", "gateway", 8090),
    "feature-serving": ("feature-serving", "gateway", 6566),
    "mlflow": ("platform", "mlflow.gateway", 5000),
}
"""By component: its chart, where its values are, and its port."""
WHOLE = {
    "enabled": "true",
    "name": "web",
    "namespace": "gateways",
    "sectionName": "https",
    "redirectFrom": "http",
    "hosts[0]": "beacon.example.com",
    "timeouts.request": "30s",
    "timeouts.backendRequest": "10s",
    "annotations.team": "pricing",
}
Found = dict[tuple[str, str], dict[str, Any]]


def render(component: str, **given: str) -> Found:
    chart, at, _ = PUBLIC[component]
    options = [f"--set-string={at}.{key}={value}" for key, value in given.items() if key != "enabled"]
    options += [f"--set={at}.enabled={given['enabled']}"] if "enabled" in given else []
    done = template(chart, f"--values=charts/{chart}/ci/default-values.yaml", *options)
    assert done.returncode == 0, done.stderr
    return {(each["kind"], each["metadata"]["name"]): each for each in documents_of(done.stdout)}


@pytest.mark.parametrize("component", PUBLIC)
def test_a_route_has_its_listener_hosts_and_timeouts(component: str) -> None:
    name, port = f"beacon-{component}", PUBLIC[component][2]
    route = render(component, **WHOLE)["HTTPRoute", name]
    assert route["metadata"]["annotations"] == {"team": "pricing"}
    spec = route["spec"]
    assert spec["parentRefs"] == [{"name": "web", "namespace": "gateways", "sectionName": "https"}]
    assert spec["hostnames"] == ["beacon.example.com"]
    (rule,) = spec["rules"]
    assert rule["timeouts"] == {"request": "30s", "backendRequest": "10s"}
    assert rule["backendRefs"] == [{"name": name, "port": port}]
    assert all(match["path"]["type"] == "PathPrefix" for match in rule["matches"])


@pytest.mark.parametrize("component", PUBLIC)
def test_the_other_listener_redirects_to_https(component: str) -> None:
    found = render(component, **WHOLE)
    route, redirect = (found["HTTPRoute", f"beacon-{component}{end}"]["spec"] for end in ("", "-to-https"))
    assert [parent["sectionName"] for parent in redirect["parentRefs"]] == ["http"]
    (rule,) = redirect["rules"]
    sent_on = {"scheme": "https", "statusCode": 301}
    assert rule["filters"] == [{"type": "RequestRedirect", "requestRedirect": sent_on}]
    assert "backendRefs" not in rule
    assert rule["matches"] == route["rules"][0]["matches"]
    assert redirect["hostnames"] == route["hostnames"]


@pytest.mark.parametrize("component", PUBLIC)
def test_there_is_none_unless_it_is_asked_for_and_then_the_gateway_is_named_and_let_in(component: str) -> None:
    name = f"beacon-{component}"
    without, simple = render(component), render(component, enabled="true", name="web")
    assert not [key for key in without if key[0] == "HTTPRoute"]
    assert simple["HTTPRoute", name]["spec"]["parentRefs"] == [{"name": "web", "namespace": "beacon"}]
    assert "timeouts" not in simple["HTTPRoute", name]["spec"]["rules"][0]
    assert [key for key in simple if key[0] == "HTTPRoute"] == [("HTTPRoute", name)]
    assert "projectcontour" in str(simple["NetworkPolicy", name])
    assert ("projectcontour" in str(without["NetworkPolicy", name])) is (component == "inference")
    chart, at, _ = PUBLIC[component]
    done = template(chart, f"--values=charts/{chart}/ci/default-values.yaml", f"--set={at}.enabled=true")
    assert done.returncode != 0
    assert "gateway.name: of the Gateway" in done.stderr


@pytest.mark.parametrize("word", ["soon", "30", "1.5s", "123456s"])
def test_a_timeout_that_is_no_duration_is_refused(word: str) -> None:
    chart, at, _ = PUBLIC["console"]
    done = template(
        chart, f"--values=charts/{chart}/ci/default-values.yaml", f"--set-string={at}.timeouts.request={word}"
    )
    assert done.returncode != 0
    assert "/gateway/timeouts/request" in done.stderr


def test_mlflow_answers_to_the_routes_hosts_and_never_without_a_login() -> None:
    (container,) = render("mlflow", **WHOLE)["StatefulSet", "beacon-mlflow"]["spec"]["template"]["spec"]["containers"]
    hosts = container["args"][container["args"].index("--allowed-hosts") + 1].split(",")
    assert "beacon.example.com" in hosts
    (container,) = render("mlflow")["StatefulSet", "beacon-mlflow"]["spec"]["template"]["spec"]["containers"]
    assert "beacon.example.com" not in str(container["args"])
    values = "--values=charts/platform/ci/default-values.yaml"
    done = template(
        "platform", values, "--set=mlflow.gateway.enabled=true,mlflow.gateway.name=web,mlflow.logins.enabled=false"
    )
    assert done.returncode != 0
    assert "lets whoever reaches it change models" in done.stderr


def test_only_mlflow_of_the_platform_is_let_in() -> None:
    found = render("mlflow", **WHOLE)
    for store in ("postgresql", "redis"):
        assert "namespaceSelector" not in str(found["NetworkPolicy", f"beacon-{store}"]["spec"]["ingress"])


def test_the_pages_example_routes_every_service_by_the_umbrella(tmp_path: Path) -> None:
    (block,) = [each for each in re.findall(r"``` yaml\n(.*?)```", PAGE, re.DOTALL) if "redirectFrom" in each]
    file = tmp_path / "routes.yaml"
    file.write_text(block, encoding="utf-8")
    found = render_umbrella("beacon", told_all(load_product(Settings().product)), tmp_path, f"--values={file}")
    routes = {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "HTTPRoute"}
    assert routes.keys() == {f"beacon-{name}" for name in (*PUBLIC, "inference-to-https")}
    hosts = {name: spec["hostnames"] for name, spec in routes.items()}
    assert len({host for each in hosts.values() for host in each}) == len(PUBLIC)
    assert not [each for each in found if each["kind"] == "Ingress"]
