"""The whole platform on a real cluster: `make deploy`, then a day in its life, in the order of this file."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from support.account_attempts import asking_as, otherwise
from support.kaggle import CREDENTIALS, Answer, StandIn, zipped
from support.on_cluster import (
    ADDRESS,
    BODY,
    DARK,
    ENDS,
    NAMESPACE,
    PREDICT,
    PRODUCT,
    ROW,
    End,
    Steps,
    answers,
    cluster,
    dark_pod,
    known,
    labels_of_ours,
    make,
    open_from,
    predict,
    redis,
    secret,
    sql,
    until,
    watched,
)
from support.promotion_attempts import needed, not_needed, read_world, without_rights
from support.request_forms import CHUNKED, FORMS
from support.steady_load import both, under_load
from support.wire import Door, chunked, head, whole, wired

from tools.deploy import run

READY = timedelta(seconds=20)
"""For a node that has just deployed everything else on two cores."""


@pytest.fixture(scope="module")
def steps() -> Iterator[Steps]:
    steps = Steps()
    yield steps
    print("\n\n" + "\n".join(steps.lines))


def logged() -> int:
    return int(sql("select count(*) from predictions"))


def test_make_deploy_ends_with_a_prediction_through_the_ingress(steps: Steps) -> None:
    with steps.timed("make deploy, a first model trained, to a prediction"):
        done = make("deploy")
        print(done.stdout)
        assert done.returncode == 0, done.stderr
        until(answers, "a prediction through the ingress", 120)
    answer = predict(BODY).json()
    assert answer["model"]["version"] == "1"
    assert PRODUCT.target.bounds[0] < answer["interval"]["low"] < answer["prediction"] < answer["interval"]["high"]


def test_inference_is_ready_seconds_after_its_container_starts(steps: Steps) -> None:
    taken = []
    for pod in json.loads(cluster().kubectl("get", "pods", "-l", "app.kubernetes.io/name=inference", "-o", "json"))[
        "items"
    ]:
        started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        [ready] = [item for item in pod["status"]["conditions"] if item["type"] == "Ready"]
        assert ready["status"] == "True"
        taken.append(datetime.fromisoformat(ready["lastTransitionTime"]) - datetime.fromisoformat(started))
    steps.lines.append(f"{'inference ready after its container starts, at most':<64} {max(taken).seconds:4} s")
    # They start at once, beside all else that was just deployed: what inference itself needs is what the best took.
    assert min(taken) <= READY


def test_an_entity_is_looked_up_in_redis(steps: Steps) -> None:
    (key,) = PRODUCT.keys
    known, unknown = {"entity": {key: 17}}, {"entity": {key: 100_000}}
    with steps.timed(f"lookup by {key}"):
        answer = predict(known)
        assert answer.status_code == 200
        assert set(answer.json()["sources"].values()) == {"store"}
        assert predict(unknown).status_code == 404
    redis("flushall")
    assert predict(known).status_code == 404
    with steps.timed("Redis emptied: the next materialization fills it again"):
        status, output = cluster().job("materialize-by-hand", "beacon-materialize")
        assert status == 0, output
        assert predict(known).status_code == 200


def test_only_public_routes_are_reached_from_outside() -> None:
    assert httpx.get(f"{ADDRESS}/openapi.json", timeout=30).status_code == 200
    for path in ("/metrics", "/readyz", "/livez", "/get-online-features", "/api/2.0/mlflow/experiments/search", "/"):
        assert httpx.get(f"{ADDRESS}{path}", timeout=30).status_code == 404, path


# What Envoy answers itself is left out: it opens no websockets and no h2c, and takes no port but its own.
THROUGH_THE_INGRESS = (
    "one chunk",
    "many chunks",
    "chunks with extensions",
    "chunks and a trailer",
    "a chunked body after Expect",
    "names in capitals",
    "zeros before the length",
    "a query",
    "a media type in capitals",
    "a media type with a parameter",
    "the coding identity in capitals",
    "keep-alive in so many words",
    "many headers",
)


def key_lines() -> tuple[str, ...]:
    """The key as lines of a head."""
    return tuple(f"{name}: {value}" for name, value in known().items())


def test_every_form_of_a_request_is_answered_through_the_ingress(steps: Steps) -> None:
    door = Door(PREDICT, json.dumps(BODY).encode(), 200, headers=key_lines())
    host = urlsplit(ADDRESS).hostname or ""
    wanted = predict(BODY).json()["prediction"]
    with steps.timed(f"{len(THROUGH_THE_INGRESS)} forms of a request through the ingress"):
        for form in THROUGH_THE_INGRESS:
            with wired(80, host) as wire:
                wire.send(FORMS[form](door), whole(door))
                for reply in (wire.final(), wire.final()):
                    assert (form, reply.status) == (form, 200)
                    assert json.loads(reply.body)["prediction"] == wanted


def test_the_ingress_has_what_the_server_leaves_to_it(steps: Steps) -> None:
    """HTTP/1.0 with keep-alive, which uvicorn closes, and a body that is refused while it still comes."""
    door = Door(PREDICT, json.dumps(BODY).encode(), 200, headers=key_lines())
    host = urlsplit(ADDRESS).hostname or ""
    with steps.timed("HTTP/1.0 that stays open, and 413 for far too much, through the ingress"):
        with wired(80, host) as wire:
            for _ in range(3):
                wire.send(whole(door, "Connection: keep-alive", version="1.0"))
                assert wire.final().status == 200
        for framing in (["Content-Length: 30000000"], [CHUNKED]):
            with wired(80, host) as wire:
                content = b" " * 30_000_000
                wire.send(head(door, *framing), content if framing != [CHUNKED] else chunked(content))
                assert wire.final().status == 413


def test_helm_test_finds_the_golden_answers(steps: Steps) -> None:
    with steps.timed("helm test: golden requests, value and version"):
        cluster().helm("test", "inference", "--timeout", "2m")


def test_every_pod_is_watched_and_the_prober_finds_the_golden_answer(steps: Steps) -> None:
    def pods(name: str) -> int:
        selector = f"--selector=app.kubernetes.io/name={name},app.kubernetes.io/part-of=beacon"
        return len(
            cluster().kubectl("get", "pods", selector, "--field-selector=status.phase=Running", "-o", "name").split()
        )

    services = ("inference", "feature-serving", "console")
    with steps.timed("Prometheus reads every pod; a probe has its golden answer"):
        names = "|".join(services)
        wanted = {name: pods(name) for name in services}
        until(lambda: watched(f'up{{job=~"{names}"}} == 1') == wanted, "every pod is watched", 300)
        until(lambda: watched("probe_success == 1 and beacon_probe_compared == 1")["beacon-probe"] >= 1, "a probe", 300)
    # Prometheus has looked at its rules once by then, and only the one that always fires does.
    until(lambda: watched('ALERTS{alertstate="firing"}', "alertname") == {"Watchdog": 1}, "only the watchdog", 300)


def test_predictions_and_actuals_are_kept(steps: Steps) -> None:
    before = logged()
    with steps.timed("20 predictions and an actual in PostgreSQL"):
        ids = [predict(BODY).json()["prediction_id"] for _ in range(20)]
        until(lambda: logged() >= before + 20, "every prediction is logged", 120)
        body = {"prediction_id": ids[0], "value": 21.0}
        assert httpx.post(f"{ADDRESS}/v1/actuals", json=body, timeout=30).status_code == 401
        key = {"X-API-Key": secret("api-key")}
        assert httpx.post(f"{ADDRESS}/v1/actuals", json=body, headers=key, timeout=30).status_code in {200, 201, 202}
        assert sql(f"select value from actuals where prediction_id = '{ids[0]}'") == "21"


def test_network_policies_close_all_but_the_arrows(steps: Steps) -> None:
    foreign = f"{NAMESPACE}-foreign"
    ours = labels_of_ours()
    reaches = {
        name: {ENDS[arrow] for arrow in (key.removeprefix("reach.beacon/") for key in labels) if arrow in ENDS}
        for name, labels in ours.items()
    }
    # Promotion makes this pod out of inference's, and it reaches less.
    ours[DARK] = ours["inference"] | {"app.kubernetes.io/name": DARK}
    reaches[DARK] = {ENDS["mlflow"]}
    run(["kubectl", "create", "namespace", foreign])
    try:
        with dark_pod(ours[DARK]):
            with steps.timed("network policies: strangers reach nothing"):
                assert found_open({"app": "stranger"}, set()) == set()
                assert found_open({"app": "stranger"}, set(), foreign) == set()
                # Nor with our labels: a namespace is no label.
                assert found_open(ours["inference"], set(), foreign) == set()
            with (
                ThreadPoolExecutor(4) as pool,
                steps.timed(f"network policies: our {len(ours)} reach their arrows alone"),
            ):
                asked = pool.map(lambda name: found_open(ours[name], reaches[name]), ours)
                found = dict(zip(ours, asked, strict=True))
            assert found == reaches
            with without_policies(), steps.timed("without the policies the same strangers reach everything"):
                every = set(ENDS.values())
                assert found_open({"app": "stranger"}, every) == every
                assert found_open({"app": "stranger"}, every, foreign) == every
    finally:
        run(["kubectl", "delete", "namespace", foreign, "--wait=false"])


def found_open(labels: dict[str, str], wanted: set[End], namespace: str = NAMESPACE) -> set[End]:
    """What takes a connection, asked again where it is not what is wanted: on a busy node a policy takes its time."""
    for _ in range(3):
        found = open_from(labels, namespace)
        if found == wanted:
            break
    return found


@contextmanager
def without_policies() -> Iterator[None]:
    """The namespace without its network policies, which are put back as they were."""
    items = json.loads(cluster().kubectl("get", "networkpolicy", "-o", "json"))["items"]
    for item in items:
        item["metadata"] = {key: item["metadata"][key] for key in ("name", "labels", "annotations")}
    cluster().kubectl("delete", "networkpolicy", "--all")
    try:
        yield
    finally:
        again = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        cluster().kubectl("create", "-f", "-", given=again)


def test_no_account_gets_more_than_it_needs(steps: Steps) -> None:
    """Each tries with its own token, by server-side dry run: promotion's is held by its Role and by the policies."""
    world = read_world(cluster())
    accounts = cluster().kubectl("get", "serviceaccounts", "-o", "name").split()
    # Drift profiling reads what clients sent, and had an account that might create Jobs.
    assert set(accounts) == {"serviceaccount/beacon-promotion", "serviceaccount/default"}
    tried = {"beacon-promotion": [*needed(world), *not_needed(world)], "default": without_rights(world)}
    count = sum(map(len, tried.values()))
    with steps.timed(f"{count} attempts of the service accounts, as many refused as there should be"):
        wrong = {}
        for account, attempts in tried.items():
            with asking_as(cluster(), account) as access:
                wrong |= {f"{account}: {what}": said for what, said in otherwise(access, attempts).items()}
        assert wrong == {}


def test_injected_drift_is_found_and_its_request_is_answered_by_a_retraining(steps: Steps) -> None:
    rooms = next(feature for feature in PRODUCT.features if feature.name == "RM")
    shifted = ROW | {"RM": 8.7, "LSTAT": 33.0, "NOX": 0.87}
    assert rooms.example != shifted["RM"]
    with steps.timed("400 shifted predictions logged"):
        before = logged()
        with httpx.Client(timeout=30) as client:
            for number in range(400):
                row = shifted | {"LSTAT": 30.0 + number % 7, "RM": 8.4 + number % 5 / 10}
                assert client.post(PREDICT, json={"features": row}, headers=known()).status_code == 200
        until(lambda: logged() >= before + 400, "every prediction is logged", 120)
    with steps.timed("drift CronJob by hand, three hours: confirmed"):
        begin = datetime.now(UTC)  # once: an hour may end between two of the runs
        for hour in range(3):
            moment = (begin + timedelta(hours=hour)).isoformat()
            command = ["python", "jobs/drift.py", "--at", moment]
            status, output = cluster().job(f"drift-{hour}", "beacon-drift-profiling", command)
            assert status == 0, output
        confirmed = sql("select distinct feature from drift_results where confirmed").split()
        assert {"RM", "LSTAT", "NOX"} <= set(confirmed), confirmed
        assert sql("select requested_by, state from retrain_requests") == "drift|waiting"
    # The first model is made older, since a request waits for the cooldown after it.
    sql("update job_runs set ended_at = ended_at - interval '25 hours' where stage = 'run'")
    with steps.timed("the retraining that drift asked for"):
        # Its CronJob may be at work already: it looks every five minutes.
        cluster().job("answer", "beacon-retraining-requests", more=("--budget-seconds", "0"))
        until(lambda: sql("select state from retrain_requests") == "done", "drift's request is answered", 600)
    assert sql("select outcome from retrain_requests").startswith("version ")


def test_a_new_version_goes_into_service_without_a_failed_request(steps: Steps) -> None:
    with kaggle_within_reach() as kaggle, steps.timed("retraining by hand, data from Kaggle"):
        route = [f"{name}={value}" for name, value in kaggle.route("beacon-mlflow").items()]
        command = ["env", *route, "python", "jobs/retrain.py", "--here", "--repeats", "1", "--seed", "1"]
        status, output = cluster().job("retrain-by-hand", "beacon-retraining", command)
        assert status == 0, output
        assert len(kaggle.asked) == 1
    version, sha256 = sql("select version, sha256 from verdicts order by id desc limit 1").split("|")
    assert int(version) > 1
    with under_load(both("ingress", PREDICT, BODY, known()), rate=50) as load:
        with steps.timed("helm upgrade to the new version, under load"):
            cluster().upgrade("inference", "--set-string", f"model.version={version},model.sha256={sha256}", "--wait")
        with steps.timed("helm test of the new version"):
            cluster().helm("test", "inference", "--timeout", "2m")
        with steps.timed("helm rollback to version 1, under load"):
            cluster().helm("rollback", "inference", "--wait", "--timeout", "3m")
    assert predict(BODY).json()["model"]["version"] == "1"
    asked = Counter(answer.version for answer in load.answers)
    steps.lines.append(f"{'answers of the old and the new version meanwhile':<64} {asked['1']} and {asked[version]}")
    assert min(asked["1"], asked[version]) > 50
    assert not load.failed, load.told()


@contextmanager
def kaggle_within_reach() -> Iterator[StandIn]:
    """A stand-in for Kaggle on this machine; retraining has credentials for it, and may reach it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect((urlsplit(ADDRESS).hostname, 80))  # sends nothing; says by which address the cluster sees us
        own = link.getsockname()[0]
    with StandIn(own) as kaggle:
        sample = PRODUCT.sample_path.read_bytes()
        kaggle.answers = [Answer(zipped(PRODUCT.sources[0].file, sample))]
        rule = {"to": [{"ipBlock": {"cidr": f"{own}/32"}}], "ports": [{"port": kaggle.server_address[1]}]}
        pods = {"matchLabels": {"app.kubernetes.io/name": "retraining"}}
        policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "kaggle"}}
        policy |= {"spec": {"podSelector": pods, "policyTypes": ["Egress"], "egress": [rule]}}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kaggle"}, "stringData": CREDENTIALS}
        both = json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, secret]})
        cluster().kubectl("apply", "-f", "-", given=both)
        try:
            yield kaggle
        finally:
            cluster().kubectl("delete", "-f", "-", given=both)


def test_undeploy_leaves_nothing(steps: Steps) -> None:
    with steps.timed("make undeploy"):
        done = make("undeploy")
        assert done.returncode == 0, done.stderr
    kinds = "all,pvc,secret,configmap,ingress,networkpolicy,poddisruptionbudget,role,rolebinding,serviceaccount"
    until(lambda: not left(kinds), "nothing is left", 300)


def left(kinds: str) -> list[str]:
    """What is in the namespace beside what Kubernetes itself puts there."""
    names = cluster().kubectl("get", kinds, "-o", "name").split()
    return [name for name in names if name not in {"configmap/kube-root-ca.crt", "serviceaccount/default"}]
