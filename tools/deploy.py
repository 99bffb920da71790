"""Install or upgrade Beacon on the cluster of KUBECONFIG: `make deploy`. Needs helm and kubectl; safe to repeat.

Order: the platform, the product's data, the jobs and services, a first model if the registry has none, then inference
with it, and the monitoring. The model of an inference that is installed already stays: only promotion changes it. The
product is that of BEACON_PRODUCT: every chart gets the text of its files.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from beacon_core.commands.cluster_secrets import HalfAPairError
from beacon_core.domain.product import Product
from beacon_core.domain.spec import ProductError
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import SettingsError, load_settings
from tools.cluster_facts import cluster_values
from tools.cluster_secrets import make_secrets, remove_secrets
from tools.product_values import DATA_BYTES, DATA_CONFIG_MAP, NEED_AN_ENTITY, data_files, in_base64, told, write_values

CHARTS = Path(__file__).parents[1] / "charts"
RELEASES = (
    "platform",
    "retraining",
    "feature-serving",
    "drift-profiling",
    "console",
    "inference",
    "promotion",
    "monitoring",
)
"""In the order of installation; each is the chart of that name, released as beacon-NAME."""
BY_HAND = frozenset({"kafka-to-lake"})
"""Charts that are installed where somebody needs them, and neither by `make deploy` nor by skaffold."""
IMAGES = {
    "platform": {"mlflow.image": "retraining"},
    "inference": {"image": "inference", "predictionLog.image": "prediction-log"},
    "monitoring": {"prober.image": "inference"},
}
"""Where the chart's values name images of ours, and which; `image` and the release's own elsewhere."""
DRIVERS = {"inference": "configmap"}
"""Where Helm keeps a release's history, if not in Secrets: promotion reads inference's, and may read no Secret."""
NEED_NO_PRODUCT = frozenset({"platform"})
POD_SECURITY = "pod-security.kubernetes.io/enforce=restricted"
JOB_SECONDS = 1800
NO_CHAMPION = 3
T = TypeVar("T")


class DeployError(Exception):
    """A step failed; the message says which and why."""


class Cluster:
    """Helm and kubectl on one namespace, with the images and values of one deployment."""

    def __init__(self, namespace: str, registry: str, tag: str, values: Path | None, product: Product | None) -> None:
        self.namespace = namespace
        self.product = product
        self._registry = registry
        self._tag = tag
        self._values = values

    @property
    def left_out(self) -> frozenset[str]:
        """Releases that are not for this product."""
        return NEED_AN_ENTITY if self.product is not None and self.product.entity is None else frozenset()

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        """Run kubectl in the namespace; its output. Raises `DeployError`."""
        return run(["kubectl", "-n", self.namespace, *arguments], given, check=check)

    def helm(
        self,
        verb: str,
        name: str,
        *arguments: str,
        given: str | None = None,
        folder: Path | None = None,
        check: bool = True,
    ) -> str:
        """Run helm's `verb` on one release, in `folder`; its output. Raises `DeployError`."""
        command = ["helm", *verb.split(), f"beacon-{name}", *arguments, "-n", self.namespace]
        variables = {"HELM_DRIVER": DRIVERS.get(name, "secret")}
        return run(command, given, check=check, variables=variables, folder=folder)

    def upgrade(self, name: str, *options: str) -> None:
        """Install or upgrade one release."""
        run(["helm", "dependency", "update", str(CHARTS / name)])
        file = None if self._values is None else self._values / f"{name}.yaml"
        # By stdin: Helm would read a path as a URL, and split it at a comma.
        values = file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""
        settings = []
        for image, service in IMAGES.get(name, {"image": name}).items():
            settings += ["--set", f"{image}.repository={self._registry}beacon-{service}"]
            settings += ["--set-string", f"{image}.tag={self._tag}"]
        with tempfile.TemporaryDirectory() as folder:
            # By a bare name, for the same reason.
            own = Path(folder, "product.json")
            given_values = self.product_values(name) | cluster_values(self, name)
            own.write_text(json.dumps(given_values), encoding="utf-8")
            command = ["--install", f"--values={own.name}", "--values=-", *settings, *options]
            self.helm("upgrade", name, str(CHARTS.resolve() / name), *command, given=values, folder=own.parent)

    def product_values(self, name: str) -> dict[str, Any]:
        """What the release's chart is told of the product."""
        return {} if self.product is None or name in NEED_NO_PRODUCT else {"product": told(self.product, name)}

    def rolled_out(self, *workloads: str, seconds: int = 300) -> None:
        """Wait until each workload (KIND/NAME) is up."""
        for workload in workloads:
            self.kubectl("rollout", "status", workload, f"--timeout={seconds}s")

    def job(
        self, name: str, cron_job: str, command: list[str] | None = None, more: Sequence[str] = ()
    ) -> tuple[int, str]:
        """Run a Job of a CronJob's template, with another command or `more` arguments; its exit status and output."""
        text = self.kubectl("create", "job", name, f"--from=cronjob/{cron_job}", "--dry-run=client", "-o", "json")
        job: dict[str, Any] = json.loads(text)
        spec = job["spec"]["template"]["spec"]
        spec["containers"][0]["command"] += more
        if command is not None:
            spec["containers"][0]["command"] = command
            job["spec"] |= {"backoffLimit": 0}
            job["spec"].pop("podFailurePolicy", None)
        self.kubectl("delete", "job", name, "--ignore-not-found", "--wait=true")
        self.kubectl("create", "-f", "-", given=json.dumps(job))
        end = time.monotonic() + JOB_SECONDS
        while time.monotonic() < end:
            status = json.loads(self.kubectl("get", "job", name, "-o", "json")).get("status", {})
            ended = {item["type"] for item in status.get("conditions", []) if item["status"] == "True"}
            if ended & {"Complete", "Failed"}:
                return self._exit_status(name), self.kubectl("logs", f"--selector=job-name={name}", "--tail=-1")
            time.sleep(2)  # kubectl takes a good part of a second of CPU to start
        raise DeployError(f"job {name} did not end within {JOB_SECONDS} s")

    def _exit_status(self, job: str) -> int:
        pods = json.loads(self.kubectl("get", "pods", f"--selector=job-name={job}", "-o", "json"))["items"]
        states = [pod["status"].get("containerStatuses", [{}])[0].get("state", {}).get("terminated") for pod in pods]
        codes = [state["exitCode"] for state in states if state]
        return min(codes, default=1)


def run(
    command: list[str],
    given: str | None = None,
    *,
    check: bool = True,
    variables: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run a program in `folder`; returns its output. Raises `DeployError` with its error output."""
    environment = os.environ | (variables or {})
    try:
        done = subprocess.run(  # noqa: S603 - kubectl and helm, without a shell
            command, input=given, capture_output=True, text=True, check=False, env=environment, cwd=folder
        )
    except FileNotFoundError as error:
        raise DeployError(f"{command[0]} is needed and not found") from error
    if check and done.returncode != 0:
        raise DeployError(f"{' '.join(command)}\n{done.stderr.strip()[-3000:]}")
    return done.stdout


def make_namespace(cluster: Cluster) -> None:
    """The namespace, held to the restricted Pod Security Standard."""
    found = run(["kubectl", "get", "namespace", cluster.namespace, "-o", "name"], check=False)
    if not found:
        run(["kubectl", "create", "namespace", cluster.namespace])
    run(["kubectl", "label", "--overwrite", "namespace", cluster.namespace, POD_SECURITY])


def prepare(cluster: Cluster) -> bool:
    """The namespace and the Secrets, random where there are none; returns whether the keys that sign models are new."""
    make_namespace(cluster)
    try:
        return make_secrets(cluster)
    except HalfAPairError as error:
        raise DeployError(str(error)) from error


def sign_what_is_there(cluster: Cluster) -> None:
    """Sign the packages of an installation from before there were keys: its pods would refuse them."""
    if not cluster.helm("get values", "inference", "-o", "json", check=False):
        return
    status, output = cluster.job("beacon-sign", "beacon-retraining", ["python", "jobs/sign.py"])
    print(output.strip())
    if status != 0:
        raise DeployError("not every package that is registered could be signed; the lines above say which")
    cluster.kubectl("delete", "job", "beacon-sign", "--ignore-not-found")


def platform(cluster: Cluster) -> None:
    """Install the platform and wait for its databases; MLflow may still be starting."""
    cluster.upgrade("platform")
    for name in ("beacon-postgresql", "beacon-redis"):
        if cluster.kubectl("get", "statefulset", name, "-o", "name", "--ignore-not-found"):
            cluster.rolled_out(f"statefulset/{name}")
            if name == "beacon-postgresql":
                roles_made(cluster)


def roles_made(cluster: Cluster, seconds: float = 120) -> None:
    """Wait until PostgreSQL has the roles that migrations, the services and MLflow log in as."""
    end = time.monotonic() + seconds
    asked = ("exec", "beacon-postgresql-0", "-c", "roles", "--", "cat", "/tmp/roles")  # noqa: S108 - the container's own
    while not cluster.kubectl(*asked, check=False).strip():
        if time.monotonic() > end:
            lines = cluster.kubectl("logs", "beacon-postgresql-0", "-c", "roles", "--tail=20", check=False).strip()
            raise DeployError(f"the roles of the database are not made: {lines}")
        time.sleep(1)


def product_data(cluster: Cluster) -> None:
    """Bring the product's data files into the cluster, in a ConfigMap that retraining mounts beside product.yaml."""
    product = cluster.product
    files = data_files(product) if product is not None else {}
    if product is None or not files:
        print(f"  no data file goes to the cluster, which takes {DATA_BYTES // 1000} KB: its pods need another source")
        return
    texts = {key: in_base64(product.file.parent / path) for key, path in files.items()}
    labels = {"app.kubernetes.io/part-of": "beacon"}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": DATA_CONFIG_MAP, "labels": labels}}
    # By the server: what the client would note of itself in the object has a limit of a quarter of this.
    command = ["apply", "--server-side", "--force-conflicts", "-f", "-"]
    cluster.kubectl(*command, given=json.dumps(config_map | {"binaryData": texts}))


def services(cluster: Cluster) -> None:
    """Install the services that inference needs and the jobs that make its model, and wait for MLflow."""
    for name in RELEASES[1 : RELEASES.index("inference")]:
        if name in cluster.left_out:
            print(f"  beacon-{name} is left out: the product has no entity")
            cluster.helm("uninstall", name, "--ignore-not-found", "--wait")
        else:
            cluster.upgrade(name)
    if cluster.kubectl("get", "statefulset", "beacon-mlflow", "-o", "name", "--ignore-not-found"):
        cluster.rolled_out("statefulset/beacon-mlflow")


def first_model(cluster: Cluster) -> dict[str, str]:
    """The model that inference is to serve: the one it serves, else the champion, trained if there is none."""
    installed = cluster.helm("get values", "inference", "-o", "json", check=False)
    model: dict[str, str] = (json.loads(installed) or {}).get("model", {}) if installed else {}
    if model.get("sha256"):
        return model
    ask = ["python", "jobs/champion.py"]
    status, output = cluster.job("beacon-champion", "beacon-retraining", ask)
    if status == NO_CHAMPION:
        # Untuned: the first answer comes sooner, and the next retraining tunes.
        status, output = cluster.job("beacon-first-model", "beacon-retraining", more=("--budget-seconds", "0"))
        print(output.strip())
        if status != 0:
            raise DeployError("training the first model failed; the lines above say why")
        status, output = cluster.job("beacon-champion", "beacon-retraining", ask)
    cluster.kubectl("delete", "job", "beacon-champion", "--ignore-not-found")
    if status != 0:
        raise DeployError(f"the store names no model in service: {output.strip()}")
    champion: dict[str, str] = json.loads(output.strip().splitlines()[-1])["model"]
    return champion


def inference(cluster: Cluster, model: dict[str, str]) -> None:
    """Install inference with its model, and promotion, and wait until every service is up."""
    settings = [option for key, value in model.items() for option in ("--set-string", f"model.{key}={value}")]
    cluster.upgrade("inference", *settings, "--wait", "--timeout", "5m")
    cluster.upgrade("promotion")
    served = [name for name in ("feature-serving", "console") if name not in cluster.left_out]
    cluster.rolled_out(*(f"deployment/beacon-{name}" for name in served))


def monitoring(cluster: Cluster) -> None:
    """Install the monitoring, after inference, whose image it shares."""
    cluster.upgrade("monitoring", "--wait", "--timeout", "5m")


def remove(cluster: Cluster) -> None:
    """Uninstall every release, with its data, its Secrets and its ended jobs."""
    for name in reversed(RELEASES):
        cluster.helm("uninstall", name, "--ignore-not-found", "--wait")
    # The claims of StatefulSets and those that Helm keeps outlive their releases, and go with the rest here alone.
    kinds = "job,pod,secret,configmap,lease,networkpolicy,persistentvolumeclaim"
    cluster.kubectl("delete", kinds, "--selector=app.kubernetes.io/part-of=beacon", "--ignore-not-found")
    cluster.kubectl("delete", "job", "beacon-first-model", "beacon-champion", "beacon-sign", "--ignore-not-found")
    remove_secrets(cluster)


def timed(what: str, step: Callable[[], T]) -> T:
    """Run one step, and print how long it took."""
    start = time.monotonic()
    result = step()
    print(f"  {what:<28} {time.monotonic() - start:6.1f} s", flush=True)
    return result


def main() -> int:
    """Deploy or remove; returns the exit status. A failure prints the command that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespace", default="beacon")
    parser.add_argument("--registry", default="", help="before the images' names, such as registry.example.com/you/")
    parser.add_argument("--tag", default="", help="of the images")
    parser.add_argument("--values", type=Path, help="a folder of NAME.yaml, one for each release that needs values")
    parser.add_argument("--remove", action="store_true", help="uninstall everything, with its data")
    parser.add_argument("--data", action="store_true", help="bring the product's data files into the cluster, no more")
    parser.add_argument("--write-values", type=Path, help="write what the charts are told of the product, no more")
    given = parser.parse_args()
    try:
        product = None if given.remove else load_product(load_settings().product)
    except (ProductError, SettingsError) as error:
        print(f"deploy refused: {error}", file=sys.stderr)
        return 1
    cluster = Cluster(given.namespace, given.registry, given.tag, given.values, product)
    start = time.monotonic()
    try:
        if given.write_values:
            if product is not None:
                write_values(product, given.write_values)
            return 0
        if given.data:
            make_namespace(cluster)
            product_data(cluster)
            return 0
        if given.remove:
            timed("everything removed", lambda: remove(cluster))
            return 0
        new_keys = timed("namespace and secret", lambda: prepare(cluster))
        timed("PostgreSQL and Redis up", lambda: platform(cluster))
        timed("the product's data", lambda: product_data(cluster))
        timed("services, jobs, MLflow up", lambda: services(cluster))
        if new_keys:
            timed("what is there is signed", lambda: sign_what_is_there(cluster))
        model = timed("a model to serve", lambda: first_model(cluster))
        timed("inference up", lambda: inference(cluster, model))
        timed("monitoring up", lambda: monitoring(cluster))
    except DeployError as error:
        print(f"deploy failed: {error}", file=sys.stderr)
        return 1
    print(
        f"beacon is up after {time.monotonic() - start:.0f} s, serving version {model['version']}; "
        "see docs/how-to/deploy.md"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
