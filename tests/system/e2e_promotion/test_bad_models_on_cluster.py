"""Bad models on a real cluster under steady load: rejected or rolled back, by their own name. `-k "bad_model"`."""

import pytest
from support import bad_models
from system.e2e_promotion import world

MOST_SECONDS = 120


@pytest.fixture(scope="module", autouse=True)
def limits() -> None:
    world.phases(20, 100)


@pytest.mark.parametrize("kind", bad_models.KINDS)
def test_a_bad_model_does_not_stay(models: world.Models, kind: str) -> None:
    good = world.serving()
    pin = models.bad(kind)
    world.judge(pin)
    before = len(world.ledger())
    with world.steady() as load:
        run = world.promote(f"bad-{list(bad_models.KINDS).index(kind)}")
    (end,) = world.ends_since(before)
    rows = world.ledger()[before:]
    taken = (rows[-1].moment - rows[0].moment).total_seconds()
    answered = sum(answer.version == pin.version for answer in load.answers)
    failing = next(row for row in rows if row.reason)
    wanted = " or ".join(sorted(bad_models.KINDS[kind].reasons))
    world.put(
        f"bad model: {kind}",
        f"rejected or rolled back within {MOST_SECONDS} s, because of {wanted}",
        f"{end.outcome} after {taken:.0f} s in the phase {failing.step}: {end.reason}; "
        f"{answered} answers of it to users, "
        f"{len(load.failed)} of {len(load.answers)} requests failed",
    )
    assert world.serving() == good
    assert world.inconsistencies() == []
    assert end.outcome in {"kept", "refused", "rolled_back"}, run.output
    assert end.reason in bad_models.KINDS[kind].reasons, run.output
    assert taken < MOST_SECONDS
    assert load.failed == [], load.told()
