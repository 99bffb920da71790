"""Try every mutation of every rule: `make mutate-rules`. Fails when one goes unnoticed that changes anything."""

import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.system.alerts.mutations import Mutation, mutations
from tests.system.alerts.promtool import name_of, rules_of, try_out


class Same(NamedTuple):
    """Mutations (patterns of the rule's name and of what was done) that change nothing, and why."""

    rule: str
    what: str
    why: str


EQUIVALENT = (
    Same(
        r".*", r"\[>\] -> !=$", "the figure is a count or an increase, which is never below 0 (a number of models: 1)"
    ),
    Same(
        r"Beacon(?!.*Burn$).*",
        r"^without scalar of max",
        "the figure beside the limit has no labels either, so that a vector matches as the number does",
    ),
    Same(r"BeaconErrorBudgetBurn", r"^without scalar of max", "the share beside the limit has no labels either"),
    Same(r"BeaconModelVersionSkew", r"count\( \[count\] ->", "only how many groups there are is counted afterwards"),
    Same(r"BeaconModelVersionSkew", r"> \[1\] -> 1\.1$", "models are counted in whole numbers"),
    Same(
        r"BeaconModelVersionSkew|BeaconDriftConfirmed|BeaconGateInconclusive", r"\[==\] -> >=$", "the gauge is 0 or 1"
    ),
    Same(r"BeaconOutputCollapse", r"^\.\.\.\( \[count\] ->", "it asks only whether there is a share at all"),
    Same(r"BeaconOutputCollapse|BeaconStoreDown|BeaconProbeFailing", r"\[==\] -> <=$", "it is never below 0"),
    Same(r"BeaconActualsMissing", r"and \[sum\] -> (max|avg)$|\[increase\] -> rate$", "only whether it is above 0"),
    Same(r"BeaconPredictionLogStuck", r"and \[sum\] -> (max|avg)$", "only whether it is above 0"),
    Same(r"BeaconJobNeverRan", r"unless \[max\] ->", "only whether there is such a job"),
    Same(
        r"BeaconStoreDown|BeaconProbeFailing",
        r"\[max\] -> (sum|avg)$|\[max_over_time\] -> avg_over_time$",
        "of figures that are 0 or 1 the sum and the mean are 0 when the largest is",
    ),
)


def main() -> int:
    """Say what survives."""
    rules = rules_of()
    tried = [(place, one) for place, rule in enumerate(rules) for one in mutations(rule)]
    with tempfile.TemporaryDirectory() as folder:
        outcome = try_out(Path(folder), rules, {number: {place: one.rule} for number, (place, one) in enumerate(tried)})
    if outcome.faults:
        print(outcome.faults)
        return 1
    noticed = outcome.noticed - outcome.invalid
    alive = [pair for number, pair in enumerate(tried) if number not in noticed | outcome.invalid]
    why = [(name_of(rules[place]), one, _why(name_of(rules[place]), one)) for place, one in alive]
    unexplained = [f"{name}: {' '.join(one.what.split())}" for name, one, same in why if same is None]
    unused = [same for same in EQUIVALENT if same not in {same for _, _, same in why}]
    print("\n".join([*(f"unnoticed: {text}" for text in unexplained), *(f"noticed now: {same}" for same in unused)]))
    print(
        f"{len(rules)} rules, {len(tried)} mutations: {len(outcome.invalid)} are no PromQL, {len(noticed)} noticed,"
        f" {len(alive) - len(unexplained)} change nothing, {len(unexplained)} unnoticed"
    )
    return int(bool(unexplained or unused))


def _why(name: str, mutation: Mutation) -> Same | None:
    what = " ".join(mutation.what.split())
    return next((same for same in EQUIVALENT if re.fullmatch(same.rule, name) and re.search(same.what, what)), None)


if __name__ == "__main__":
    sys.exit(main())
