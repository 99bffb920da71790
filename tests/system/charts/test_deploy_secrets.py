"""`make deploy` makes what pods need before they start: each Secret and ConfigMap that no chart makes."""

import json
import subprocess
from typing import Any

import pytest
from support.rendering import containers, pods, rendered

from beacon_core.commands.cluster_secrets import (
    KEYS_CONFIG_MAP,
    KEYS_KEY,
    OWN,
    SIGNING_KEY,
    SIGNING_SECRET,
    HalfAPairError,
)
from beacon_core.platform.settings import ROOT
from beacon_core.platform.signing_keys import read_private_key, read_public_keys
from tools.cluster_secrets import make_secrets
from tools.deploy import RELEASES


class Objects:
    """Kubectl on a namespace that remembers what is created in it."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, str]] = {}

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        assert check
        if arguments[:3] == ("create", "-f", "-"):
            assert given is not None
            made: dict[str, Any] = json.loads(given)
            name = f"{made['kind'].lower()}/{made['metadata']['name']}"
            assert name not in self.made
            self.made[name] = made["stringData"] if made["kind"] == "Secret" else made["data"]
            return f"{name} created\n"
        verb, *names = arguments
        assert verb == "get"
        kind = f"{names.pop(0)}/" if "/" not in names[0] else ""
        return "\n".join(f"{kind}{name}" for name in names if f"{kind}{name}" in self.made)


def needed() -> set[tuple[str, str]]:
    """Object and key that a pod of the charts' defaults cannot start without."""
    found = set()
    for chart in RELEASES:
        documents = rendered(chart, "default-values.yaml")
        own = {f"configmap/{each['metadata']['name']}" for each in documents if each["kind"] == "ConfigMap"}
        for _, spec in pods(documents):
            for container in containers(spec):
                for variable in container.get("env", []):
                    ref = variable.get("valueFrom", {}).get("secretKeyRef", {"optional": True})
                    if not ref.get("optional"):
                        found.add((f"secret/{ref['name']}", ref["key"]))
            for volume in spec["volumes"]:
                for kind, source, name in (("secret", "secret", "secretName"), ("configmap", "configMap", "name")):
                    if source in volume and f"{kind}/{volume[source][name]}" not in own:
                        found |= {(f"{kind}/{volume[source][name]}", each["key"]) for each in volume[source]["items"]}
    return found


def test_whatever_a_pod_needs_is_made() -> None:
    cluster = Objects()
    assert make_secrets(cluster)
    made = {(name, key) for name, content in cluster.made.items() for key in content}
    assert len(needed()) > 12
    assert needed() - made == set()
    assert {name.partition("/")[2] for name in cluster.made} == {*OWN, KEYS_CONFIG_MAP}


def test_what_is_there_stays_and_the_keys_are_a_pair(tmp_path: Any) -> None:
    cluster = Objects()
    assert make_secrets(cluster)
    before = json.dumps(cluster.made)
    assert not make_secrets(cluster)
    assert json.dumps(cluster.made) == before
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.touch(0o600)
    private.write_text(cluster.made[f"secret/{SIGNING_SECRET}"][SIGNING_KEY])
    public.write_text(cluster.made[f"configmap/{KEYS_CONFIG_MAP}"][KEYS_KEY])
    assert list(read_public_keys(public)) == [read_private_key(private).id]
    passwords = [
        value for name, content in cluster.made.items() if name.startswith("secret/") for value in content.values()
    ]
    assert len(set(passwords)) == len(passwords)


@pytest.mark.parametrize("lost", [f"secret/{SIGNING_SECRET}", f"configmap/{KEYS_CONFIG_MAP}"])
def test_half_a_pair_is_told(lost: str) -> None:
    cluster = Objects()
    make_secrets(cluster)
    del cluster.made[lost]
    with pytest.raises(HalfAPairError, match=f"{lost} is not: the keys that sign models are a pair"):
        make_secrets(cluster)


def test_make_deploy_has_all_that_it_imports() -> None:
    python = ROOT / ".venvs" / "dashboards" / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "tools.deploy", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
