"""Releases of the umbrella chart on the cluster of the tests, by Helm alone, and the namespace that they are in."""

import subprocess
from pathlib import Path

from support.on_cluster import NAMESPACE, TAG, VALUES

from beacon_core.platform.settings import ROOT
from tools.deploy import POD_SECURITY, run
from tools.product_values import UMBRELLA

CHART, PRODUCT_VALUES = f"charts/{UMBRELLA}", ".beacon/product-values/beacon.json"
"""Below a checkout: the chart that `make umbrella` makes ready, and what it is told of the product."""


def helm(verb: str, *arguments: str, release: str = UMBRELLA, checkout: Path = ROOT) -> str:
    """What Helm prints of a release; AssertionError with its message where it fails."""
    command = ["helm", verb, release, *arguments, "--namespace", NAMESPACE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=checkout)
    assert done.returncode == 0, f"helm {verb} {release}: {done.stderr[-3000:]}"
    return done.stdout


def applied(host: str, *more: str, values: Path = VALUES, product: str = PRODUCT_VALUES, tag: str = TAG) -> list[str]:
    """The chart and its values for `helm install` and `helm upgrade`; inference answers at `host`."""
    given = [f"--values={product}", f"--values={values}", f"--set-string=global.tag={tag}"]
    return [CHART, *given, f"--set-string=inference.ingress.host={host}", *more]


def make_namespace() -> None:
    """The namespace of the suite, held to the restricted standard; what is left there of a run before goes."""
    run(["kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=300s"])
    run(["kubectl", "create", "namespace", NAMESPACE])
    run(["kubectl", "label", "--overwrite", "namespace", NAMESPACE, POD_SECURITY])
