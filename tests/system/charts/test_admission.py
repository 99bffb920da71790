"""Promotion's admission policies: where they are installed, and that an attempt on the cluster tries each rule."""

import json
import re
import shutil
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
import yaml
from support.account_attempts import Attempt
from support.promotion_attempts import World, needed, not_needed
from support.rendering import KUBE_VERSION, containers, helm, rendered, template

from beacon_core.platform.settings import ROOT
from tools.cluster_facts import cluster_values, inference_has
from tools.deploy import Cluster

SERVED = "--api-versions=admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"
VALUES = "--values=charts/promotion/ci/default-values.yaml"
IS_PROMOTION = "request.userInfo.username == 'system:serviceaccount:beacon:beacon-promotion'"
POLICIES = {"beacon-beacon-promotion", "beacon-beacon-promotion-pods"}


def policies(*arguments: str) -> dict[str, dict[str, Any]]:
    """The policies that the chart installs, each of which a binding puts in force."""
    done = template("promotion", VALUES, *arguments)
    assert done.returncode == 0, done.stderr
    documents = [document for document in yaml.safe_load_all(done.stdout) if document]
    found = {
        each["metadata"]["name"]: each["spec"] for each in documents if each["kind"] == "ValidatingAdmissionPolicy"
    }
    bound = [each["spec"] for each in documents if each["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert {each["policyName"] for each in bound} == found.keys()
    assert all(each["validationActions"] == ["Deny"] for each in bound)
    for each in found.values():
        assert each["failurePolicy"] == "Fail"
        # Nobody else is asked anything. A parameter that is missing would be everybody's refusal.
        assert [one["expression"] for one in each["matchConditions"]] == [IS_PROMOTION]
        assert "paramKind" not in each
    return found


@pytest.mark.parametrize(
    ("arguments", "installed"),
    [
        ((SERVED,), True),
        ((), False),
        ((SERVED, "--set=admissionPolicy.enabled=false"), False),
        (("--set=admissionPolicy.enabled=true",), True),
    ],
)
def test_they_are_installed_where_the_cluster_has_them(arguments: tuple[str, ...], installed: bool) -> None:
    assert policies(*arguments).keys() == (POLICIES if installed else set())


def test_a_misspelt_choice_is_refused() -> None:
    done = template("promotion", VALUES, "--set=admissionPolicy.enabled=always")
    assert done.returncode != 0
    assert "admissionPolicy" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--set=admissionPolicy.enabled=true",), "Its account is held to inference's own objects"),
        ((), "may create any pod: this cluster has no ValidatingAdmissionPolicies."),
        (("--set=admissionPolicy.enabled=false",), "may create any pod: admissionPolicy.enabled is false."),
    ],
)
def test_the_notes_say_whether_they_hold(arguments: tuple[str, ...], line: str, tmp_path: Path) -> None:
    chart = shutil.copytree(ROOT / "charts" / "promotion", tmp_path / "promotion")
    notes = (chart / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    # Helm renders the notes for a cluster alone, and any other file without one.
    (chart / "templates" / "notes.yaml").write_text(f"kind: Notes\ntext: |\n{indent(notes, '  ')}", encoding="utf-8")
    done = helm("template", "beacon-promotion", str(chart), KUBE_VERSION, VALUES, *arguments)
    assert done.returncode == 0, done.stderr
    (text,) = [each["text"] for each in yaml.safe_load_all(done.stdout) if each and each["kind"] == "Notes"]
    assert line in text


def world() -> World:
    """The release as the chart renders it, behind an Ingress and a Gateway."""
    documents = rendered("inference", "everything-values.yaml")
    ours = [each for each in documents if "helm.sh/hook" not in each["metadata"].get("annotations", {})]
    (deployment,) = [
        each for each in ours if (each["kind"], each["metadata"]["name"]) == ("Deployment", "beacon-inference")
    ]
    return World(deployment, [each for each in ours if each["kind"] != "Deployment"])


def test_each_rule_is_tried_and_each_refusal_is_a_rule() -> None:
    messages = [
        rule["message"]
        for spec in policies("--set=admissionPolicy.enabled=true").values()
        for rule in spec["validations"]
    ]
    refusals = {attempt.refusal for attempt in not_needed(world()) if attempt.refusal}
    # One cannot be asked by a right of the namespace alone, one is refused by the Role already.
    elsewhere = {"promotion works in its own namespace", "promotion removes no Service but the canary's"}
    tried = {message for message in messages if any(refusal in message for refusal in refusals)}
    assert set(messages) - tried == elsewhere
    by_others = {"cannot", "phemeral"}
    assert {refusal for refusal in refusals if not any(refusal in message for message in messages)} == by_others
    assert len(not_needed(world())) > 150


def test_an_attempt_differs_from_what_is_there() -> None:
    def key(attempt: Attempt) -> str:
        return json.dumps([attempt.verb, attempt.body], sort_keys=True)

    here = world()
    admitted = {key(attempt) for attempt in needed(here)}
    assert [attempt.what for attempt in not_needed(here) if attempt.refusal and key(attempt) in admitted] == []
    assert world() == here


def test_the_defaults_are_what_inference_has() -> None:
    promotion, inference = (
        yaml.safe_load((ROOT / "charts" / name / "values.yaml").read_text()) for name in ("promotion", "inference")
    )
    assert inference_has(inference) == promotion["inferencePods"] | {"image": inference["image"]["repository"]}
    (policy,) = [
        each for name, each in policies("--set=admissionPolicy.enabled=true").items() if name.endswith("-pods")
    ]
    assert "c.image.startsWith('beacon-inference:')" in json.dumps(policy)


def test_another_image_has_to_be_named() -> None:
    given = ("--set=admissionPolicy.enabled=true", "--set=image.repository=example.com/releaser")
    done = template("promotion", VALUES, *given)
    assert done.returncode != 0
    assert "inferencePods.image: the repository of inference's image" in done.stderr
    given = (*given, "--set=inferencePods.image=example.com/server")
    done = template("promotion", VALUES, *given)
    assert "inferencePods.logImage: the repository of the prediction log's image" in done.stderr
    policies(*given, "--set=inferencePods.logImage=example.com/shipper")


@pytest.mark.parametrize(
    "file", sorted((ROOT / "charts" / "inference" / "ci").glob("*-values.yaml")), ids=lambda it: it.name
)
def test_make_deploy_finds_all_that_inference_has(file: Path) -> None:
    more = {"keys": {"name": "clients"}, "featuresKey": {"name": "features"}, "env": {"TZ": "UTC"}}
    more |= {"secretEnv": {"HTTPS_PROXY": {"name": "proxy", "key": "url"}}, **EXTENDED}
    given = [f"--set-json={name}={json.dumps(value)}" for name, value in more.items()]
    done = template("inference", f"--values={file}", *given)
    assert done.returncode == 0, done.stderr
    (spec,) = [
        each["spec"]["template"]["spec"]
        for each in yaml.safe_load_all(done.stdout)
        if each and (each["kind"], each["metadata"]["name"]) == ("Deployment", "beacon-inference")
    ]
    defaults = yaml.safe_load((ROOT / "charts" / "inference" / "values.yaml").read_text())
    told = inference_has(merged(merged(defaults, yaml.safe_load(file.read_text())), more))
    # As promotion's chart spells it out.
    has = json.loads(json.dumps(told).replace("$(name)", "beacon").replace("$(platform)", "beacon"))
    variables = [variable for container in containers(spec) for variable in container.get("env", [])]
    references = [
        each["valueFrom"]["secretKeyRef"] for each in variables if "secretKeyRef" in each.get("valueFrom", {})
    ]
    secrets = {(each["name"], each["key"]) for each in references if each}
    mounted = [each["secret"] for each in spec["volumes"] if "secret" in each]
    secrets |= {(each["secretName"], item["key"]) for each in mounted for item in each["items"]}
    assert secrets <= {(each["name"], each["key"]) for each in has["secrets"]}
    foreign = {each["name"] for each in variables if not each["name"].startswith(("BEACON_", "OTEL_"))}
    logins = {"PGPASSWORD", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    assert foreign <= logins | {"POD_NAME", *has["variables"]}
    config_maps = {each["configMap"]["name"] for each in spec["volumes"] if "configMap" in each}
    assert config_maps == set(has["configMaps"])
    claims = {each["persistentVolumeClaim"]["claimName"] for each in spec["volumes"] if "persistentVolumeClaim" in each}
    assert claims <= {has["claim"], has["spoolClaim"]}
    own = [one for one in containers(spec) if one["name"] in {"inference", "fetch-model"}]
    assert all(re.match(f"{has['image']}[:@]", container["image"]) for container in own)
    log_image = has["logImage"] or has["image"].replace("inference", "prediction-log")
    (log,) = [one for one in containers(spec) if one["name"] == "prediction-log"]
    assert re.match(f"{log_image}[:@]", log["image"])
    added = [{"name": one["name"], "image": one["image"]} for one in containers(spec) if one not in [*own, log]]
    assert added == has["containers"]
    assert spec["serviceAccountName"] == has["serviceAccount"] == "beacon-inference"
    assert {each["secretRef"]["name"] for one in own for each in one["envFrom"]} == set(has["envFrom"]) == {"more"}
    assert has["volumes"] == ["cache"]
    assert {"name": "cache", "emptyDir": {}} in spec["volumes"]


EXTENDED = {
    "serviceAccount": {"create": True},
    "extraContainers": [{"name": "agent", "image": "example.com/agent:1"}],
    "extraInitContainers": [{"name": "wait", "image": "example.com/wait:1"}],
    "envFrom": [{"secretRef": {"name": "more"}}],
    "extraVolumes": [{"name": "cache", "emptyDir": {}}],
    "extraEnv": [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HTTP_PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "plain"}}},
    ],
}
"""What the chart's extension points add."""


def test_what_values_add_is_admitted_for_inference_and_never_for_a_dark_pod() -> None:
    has = json.dumps({"containers": [{"name": "agent", "image": "example.com/agent:1"}], "volumes": ["cache"]})
    given = ("--set=admissionPolicy.enabled=true", f"--set-json=inferencePods={has}")
    (policy,) = [each for name, each in policies(*given).items() if name.endswith("-pods")]
    variables = {one["name"]: one["expression"] for one in policy["variables"]}
    assert variables["added"] == "variables.dark ? [] : ['agent']"
    assert variables["volumes"] == "variables.dark ? [] : ['cache']"
    (images,) = [rule["expression"] for rule in policy["validations"] if "containers and image" in rule["message"]]
    assert "(c.name + ' ' + c.image) in ['agent example.com/agent:1']" in images


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """As Helm puts values together."""
    both = {key: merged(one[key], other[key]) for key in one.keys() & other.keys() if isinstance(one[key], dict)}
    return one | other | both


PROGRAM = """#!/bin/sh
case "$*" in
  *api-resources*) echo $SERVES | tr ' ' '\\n' ;;
  *"can-i create validatingadmissionpolicybindings"*) echo "$MAY"; test "$MAY" = yes ;;
  *can-i*) echo yes ;;
  "get values beacon-inference --all"*) cat "$INSTALLED" ;;
esac
"""
BOTH = " ".join(f"validatingadmissionpolic{end}.admissionregistration.k8s.io" for end in ("ies", "ybindings"))


@pytest.mark.parametrize(
    ("serves", "may", "line"),
    [
        (BOTH, "yes", ""),
        (BOTH, "no", "you may not create validatingadmissionpolicybindings"),
        ("validatingwebhookconfigurations.admissionregistration.k8s.io", "yes", "the cluster has no Validating"),
    ],
)
def test_make_deploy_asks_whether_it_may(
    serves: str,
    may: str,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("kubectl", "helm"):
        program = tmp_path / name
        program.write_text(PROGRAM)
        program.chmod(0o755)
    values = yaml.safe_load((ROOT / "charts" / "inference" / "values.yaml").read_text())
    installed = tmp_path / "values.json"
    installed.write_text(json.dumps(values | {"packagesClaim": "other"}))
    monkeypatch.setenv("INSTALLED", str(installed))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SERVES", serves)
    monkeypatch.setenv("MAY", may)
    told = cluster_values(Cluster("beacon", "", "1", None, None), "promotion")
    said = capsys.readouterr().out
    if line:
        assert told == {"admissionPolicy": {"enabled": False}}
        assert re.fullmatch(f"  no admission policy holds promotion's account, .*: {line}.*\n", said)
    else:
        assert (told["inferencePods"]["claim"], said) == ("other", "")
    assert cluster_values(Cluster("beacon", "", "1", None, None), "inference") == {}
