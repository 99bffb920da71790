"""Promotion on a real cluster under steady load: `make e2e-promotion`.

Figures go into docs/reference/reliability.md. ROUNDS, KILLS and RATE set its length. DEPLOYED=1 keeps what is there;
ARGS="-k killed" runs one part: bad_model, story, gateway, lose_nothing, killed, amid_a_canary, neither_store.
"""

import json
import os
import random
import time
from functools import partial

from support.on_cluster import cluster, until
from system.e2e_promotion import world

from beacon_core.domain.pins import Pin

ROUNDS = int(os.environ.get("ROUNDS") or 10)
KILLS = int(os.environ.get("KILLS") or 20)
KILL_WITHIN_SECONDS = 45
"""About how long a run with the phases of that test is."""
BUSY = 75


def pair(name: str) -> list[world.Run]:
    """Two runs started at the same moment."""
    return world.at_once(*(partial(world.promote, f"{name}-{one}") for one in ("a", "b")))


def test_promotions_and_rollbacks_lose_nothing_and_the_ledger_tells_every_answer(models: world.Models) -> None:
    """Each is asked of two runs at once: one does it, the other says who is at work."""
    world.phases(6, 36)
    clock, pairs, seconds = world.Clock(), [], {"promoted": [], "rolled_back": []}
    served: list[Pin] = [world.serving()]
    with world.steady() as load:
        for number in range(ROUNDS):
            pin = models.good(1 + (number + 1) / 1000)
            world.judge(pin)
            before = len(world.ledger())
            runs = pair(f"promote-{number}")
            pairs.append(runs)
            ends = world.ends_since(before)
            assert [end.outcome for end in ends] == ["promoted"], [run.output for run in runs]
            assert world.serving() == pin
            served.append(pin)
            seconds["promoted"].append(max(run.seconds for run in runs))
        for number in range(ROUNDS):
            world.reject(served.pop())
            before = len(world.ledger())
            runs = pair(f"back-{number}")
            pairs.append(runs)
            ends = world.ends_since(before)
            assert [end.outcome for end in ends] == ["rolled_back"], [run.output for run in runs]
            assert world.serving() == served[-1]
            seconds["rolled_back"].append(max(run.seconds for run in runs))
    assert world.inconsistencies() == []
    wrong = world.contradictions(load.answers, world.ledger(), clock)
    refused = sum(sorted(run.status for run in runs) == [0, BUSY] for runs in pairs)
    versions = len({answer.version for answer in load.answers})
    world.put(
        f"{ROUNDS} promotions and {ROUNDS} rollbacks in a row, phases of 6 s",
        "0 failed requests; every answer's version is what the ledger says of its time",
        f"{len(load.failed)} of {len(load.answers)} requests failed, {len(wrong)} answers contradict the ledger, "
        f"{versions} versions; a promotion took {_span(seconds['promoted'])}, "
        f"a rollback {_span(seconds['rolled_back'])}",
    )
    world.put(
        f"two runs started at once, {len(pairs)} times",
        "one change, one polite refusal",
        f"one change each time; {refused} of {len(pairs)} refused politely (exit 75, who is at work and since when)",
    )
    assert load.failed == [], load.told()
    assert wrong == [], wrong[:5]
    assert refused == len(pairs), [(run.status, run.output[-300:]) for runs in pairs for run in runs]


def _span(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.0f} s (at most {ordered[-1]:.0f})" if ordered else "-"


def test_a_killed_run_is_mended_by_the_next(models: world.Models) -> None:
    world.phases(3, 20)
    chance = random.Random(20)
    both = [world.serving(), models.good(1.02)]
    found: list[tuple[float, list[str]]] = []
    steps: list[str] = []
    with world.steady() as load:
        for number in range(KILLS):
            candidate = next(pin for pin in both if pin != world.serving())
            world.judge(candidate)
            delay = chance.uniform(1, KILL_WITHIN_SECONDS)
            steps.append(_killed(f"killed-{number}", delay))
            # The next run is to mend and no more.
            world.judge(candidate, "fail")
            began = time.monotonic()
            run = world.promote(f"mending-{number}")
            mended = time.monotonic() - began
            wrong = world.inconsistencies()
            print(
                f"\n  {number}: killed after {delay:.0f} s ({steps[-1]}), mended in {mended:.0f} s: {wrong or 'well'}",
                flush=True,
            )
            found.append((mended, [*wrong, *([] if run.status == 0 else [run.output[-500:]])]))
    well = sum(not wrong and seconds <= 180 for seconds, wrong in found)
    phases = ", ".join(sorted(set(steps)))
    world.put(
        f"the run killed at {KILLS} random moments, phases of 3 s",
        "consistent within 180 s of the next run, nothing by hand",
        f"{well} of {KILLS}; the slowest took {max(seconds for seconds, _ in found):.0f} s; killed in: {phases}; "
        f"{len(load.failed)} of {len(load.answers)} requests failed",
    )
    assert well == KILLS, found
    assert load.failed == [], load.told()


def _killed(name: str, delay: float) -> str:
    """Start a run, kill its pod so long after it began to run; the ledger's last step at that time."""
    here = cluster()
    text = here.kubectl("create", "job", name, "--from=cronjob/beacon-promotion", "--dry-run=client", "-o", "json")
    job = json.loads(text)
    job["spec"] |= {"backoffLimit": 0}
    job["spec"].pop("podFailurePolicy", None)
    here.kubectl("delete", "job", name, "--ignore-not-found", "--wait=true")
    here.kubectl("create", "-f", "-", given=json.dumps(job))
    chosen = f"--selector=job-name={name}"
    here.kubectl("wait", "pod", chosen, "--for=condition=Ready", "--timeout=120s", check=False)
    time.sleep(delay)
    last = world.ledger()[-1]
    # As a node that vanishes: nothing is said to the process.
    here.kubectl("delete", "pod", chosen, "--grace-period=0", "--force", "--wait=true", check=False)
    return "after its end" if last.step == "end" else last.step


def test_a_rollback_amid_a_canary_takes_the_candidate_from_the_users(models: world.Models) -> None:
    world.phases(20, 100)
    good, pin, before = world.serving(), models.good(1.04), len(world.ledger())
    world.judge(pin)

    def back() -> world.Run:
        def shown() -> bool:
            return any((row.step, row.outcome) == ("canary", "begun") for row in world.ledger()[before:])

        until(shown, "the canary", 180)
        time.sleep(10)  # amid it
        return world.promote("back", "rollback", "--reason", "prices look odd", "--person", "ada")

    with world.steady() as load:
        tried, taken = world.at_once(partial(world.promote, "tried"), back)
    answered = sum(answer.version == pin.version for answer in load.answers)
    (end,) = world.ends_since(before)
    world.put(
        "a person's rollback amid a canary",
        "the candidate answers nobody any more, the old model serves, and the person is told so",
        f"{end.outcome}, {end.reason}; the order took {taken.seconds:.0f} s; {answered} answers of it to users, "
        f"{len(load.failed)} of {len(load.answers)} requests failed",
    )
    assert (tried.status, taken.status) == (0, 0), tried.output + taken.output
    assert world.serving() == good
    assert world.inconsistencies() == []
    assert (end.outcome, end.reason) == ("rolled_back", "by_hand")
    words = f"version {pin.version} answers nobody any more, version {good.version} serves; to roll that one back, too"
    assert words in taken.output
    assert "was rejected by ada: prices look odd" in world.promote("not-again").output
    assert answered > 0
    assert load.failed == [], load.told()


def test_a_rollback_needs_neither_store_nor_registry(models: world.Models) -> None:
    world.phases(5, 40)
    good = world.serving()
    pin = models.good(1.03)
    world.judge(pin)
    run = world.promote("before-the-outage")
    assert world.serving() == pin, run.output
    here = cluster()
    with world.steady() as load:
        here.kubectl("scale", "statefulset", "beacon-mlflow", "beacon-postgresql", "--replicas=0")
        here.kubectl(
            "wait", "pod", "--selector=app.kubernetes.io/name in (mlflow, postgresql)", "--for=delete", "--timeout=90s"
        )
        try:
            run = world.promote("in-the-outage", "rollback", "--reason", "a drill")
            back = world.serving()
        finally:
            here.kubectl("scale", "statefulset", "beacon-mlflow", "beacon-postgresql", "--replicas=1")
            here.rolled_out("statefulset/beacon-postgresql", "statefulset/beacon-mlflow", seconds=600)
    settled = world.promote("after-the-outage")
    rows = [row for row in world.ledger() if row.outcome == "rolled_back"]
    world.put(
        "a rollback with PostgreSQL and MLflow down",
        "the old model serves; the ledger's rows and the aliases follow",
        f"version {back.version} serves after {run.seconds:.0f} s, {len(load.failed)} of {len(load.answers)} requests "
        "failed; the ledger's row came with the next run",
    )
    assert run.status == 0, run.output
    assert back == good
    assert settled.status == 0, settled.output
    assert rows[-1].versions == {good.version}
    assert world.inconsistencies() == []
    assert load.failed == [], load.told()
