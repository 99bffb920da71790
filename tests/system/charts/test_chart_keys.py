"""Named API keys on a cluster: the Secret with their file, mounted so that a change of it is seen."""

from typing import Any

import pytest
import yaml
from support.rendering import containers, pods, template

from beacon_console.login.guard import check_login
from beacon_core.platform.settings import load_settings
from beacon_core.web.access import check_api_keys

FILE = "/etc/beacon-keys/clients.yaml"


def service(chart: str, *arguments: str, values: str = "default") -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod of a chart's service and its container."""
    given = ["keys.name=clients", "keys.key=clients.yaml", *arguments]
    done = template(
        chart, f"--values=charts/{chart}/ci/{values}-values.yaml", *(part for each in given for part in ("--set", each))
    )
    assert done.returncode == 0, done.stderr
    for labels, spec in pods([document for document in yaml.safe_load_all(done.stdout) if document]):
        if labels["app.kubernetes.io/name"] == chart:
            return spec, containers(spec)[-1]
    raise AssertionError("no pod")


def variables(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@pytest.mark.parametrize(
    ("chart", "scope"), [("inference", "predict"), ("inference", "explain"), ("feature-serving", "features")]
)
def test_the_file_is_a_mounted_folder_and_has_to_be_there(chart: str, scope: str) -> None:
    spec, container = service(chart, f"keys.requiredFor={{{scope}}}")
    found = variables(container)
    assert (found["BEACON_API_KEYS_FILE"], found["BEACON_CLOSED_SCOPES"]) == (FILE, scope)
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "keys"]
    # A file that is mounted by subPath never changes.
    assert mount == {"name": "keys", "mountPath": "/etc/beacon-keys", "readOnly": True}
    (volume,) = [each for each in spec["volumes"] if each["name"] == "keys"]
    items = [{"key": "clients.yaml", "path": "clients.yaml"}]
    assert volume["secret"] == {"secretName": "clients", "items": items}, "not optional"


def test_with_named_keys_the_single_one_may_be_missing_or_left_out() -> None:
    _, container = service("inference")
    assert variables(container)["BEACON_API_KEY"]["secretKeyRef"]["optional"] is True
    _, container = service("inference", "apiKey.name=")
    assert "BEACON_API_KEY" not in variables(container)


def test_no_key_at_all_has_to_be_said() -> None:
    values = "--values=charts/inference/ci/default-values.yaml"
    done = template("inference", values, "--set", "apiKey.name=")
    assert done.returncode != 0
    assert "apiKey.name or keys.name" in done.stderr
    assert template("inference", values, "--set", "apiKey.name=", "--set", "apiKey.required=false").returncode == 0


@pytest.mark.parametrize("chart", ["inference", "feature-serving"])
def test_the_issuer_of_jwts_is_named_and_can_be_reached(chart: str) -> None:
    issuer = ("jwt.issuer=https://i.example", "jwt.audience=beacon", "jwt.jwksUrl=https://i.example:8443/jwks")
    more = (r"jwt.scopes.beacon\.read=predict", "jwt.quota.rows_per_day=1000000000")
    _, container = service(chart, *issuer, *more)
    found = {name: value for name, value in variables(container).items() if name.startswith("BEACON_JWT_")}
    settings = load_settings(found)
    assert settings.jwt_issuer == "https://i.example"
    assert settings.jwt_jwks_url == "https://i.example:8443/jwks"
    assert settings.jwt_scopes == (("beacon.read", "predict"),)
    assert settings.jwt_quota.rows_per_day == 10**9
    check_api_keys(settings)

    def opened(address: str) -> list[int]:
        rules = egress(chart, *issuer[:2], f"jwt.jwksUrl={address}")
        return [port["port"] for rule in rules for port in rule["ports"]]

    assert 8443 in opened("https://i.example:8443/jwks")
    assert 443 not in opened("https://i.example:8443/jwks")
    assert 443 in opened("https://[::1]/jwks")
    assert 80 in opened("http://dex/keys")


def test_the_consoles_login_is_as_its_values_say() -> None:
    done = template("console", "--values=charts/console/ci/login-values.yaml")
    assert done.returncode == 0, done.stderr
    [(_, spec)] = pods([each for each in yaml.safe_load_all(done.stdout) if each])
    found = variables(containers(spec)[-1])
    secrets = {name: value for name, value in found.items() if isinstance(value, dict) and "LOGIN" not in name}
    assert secrets["BEACON_CONSOLE_SESSION_KEY"]["secretKeyRef"] == {
        "name": "beacon-console-login",
        "key": "session-key",
        "optional": False,
    }
    texts = {name: value for name, value in found.items() if name.startswith("BEACON_") and name not in secrets}
    settings = load_settings(texts | {"BEACON_CONSOLE_SESSION_KEY": "k" * 32, "BEACON_OIDC_CLIENT_SECRET": "s"})
    check_login(settings)
    assert (settings.console_viewers, settings.proxy_networks) == (("*",), ("10.0.0.0/8",))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("login.mode=oidc",), "login.oidc.issuer"),
        (("login.mode=proxy",), "proxyNetworks: the networks"),
        (("login.mode=ldap",), "login"),
        (("login.oidc.issuer=http://i.example",), "issuer"),
        (("login.oidc.redirectUrl=https://c.example/",), "redirectUrl"),
    ],
)
def test_half_a_login_is_refused_by_its_value(values: tuple[str, ...], words: str) -> None:
    sets = (part for each in values for part in ("--set", each))
    done = template("console", "--values=charts/console/ci/default-values.yaml", *sets)
    assert done.returncode != 0
    assert words in done.stderr


def egress(chart: str, *arguments: str) -> list[dict[str, Any]]:
    sets = (part for each in arguments for part in ("--set", each))
    done = template(chart, f"--values=charts/{chart}/ci/default-values.yaml", *sets)
    assert done.returncode == 0, done.stderr
    for document in yaml.safe_load_all(done.stdout):
        if document and document["kind"] == "NetworkPolicy":
            rules: list[dict[str, Any]] = document["spec"]["egress"]
            return rules
    raise AssertionError("no network policy")


@pytest.mark.parametrize("chart", ["console", "feature-serving", "inference", "promotion", "retraining"])
def test_a_variable_may_lie_in_a_secret(chart: str) -> None:
    secret = {"name": "collector", "key": "headers"}
    given = [f"secretEnv.OTEL_EXPORTER_OTLP_HEADERS.{name}={value}" for name, value in secret.items()]
    done = template(
        chart, f"--values=charts/{chart}/ci/default-values.yaml", *(part for each in given for part in ("--set", each))
    )
    assert done.returncode == 0, done.stderr
    documents = [document for document in yaml.safe_load_all(done.stdout) if document]
    found = [variables(each) for _, spec in pods(documents) for each in containers(spec) if each.get("env")]
    told = [each["OTEL_EXPORTER_OTLP_HEADERS"] for each in found if "OTEL_EXPORTER_OTLP_HEADERS" in each]
    assert told
    assert all(each == {"secretKeyRef": secret} for each in told)
