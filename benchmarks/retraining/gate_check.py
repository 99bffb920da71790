"""Whether the gate is right: better models must pass, worse ones must not. Exit 1: fewer than 19 of 20 were right."""

import argparse
import sys

from joblib import Parallel, delayed
from retraining.cases import Case, run

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings

NEEDED = 0.95
KINDS = {"better": "accepted", "worse": "refused"}


def main() -> int:
    """All cases, a line each, then the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20, help="of each kind")
    parser.add_argument("--first", type=int, default=0, help="seed; the gate was mended on 0 to 19")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=tuple(KINDS))
    given = parser.parse_args()
    product = load_product(load_settings().product)
    seeds = range(given.first, given.first + given.cases)
    wanted = [(kind, seed) for kind in given.kinds for seed in seeds]
    cases = Parallel(n_jobs=-1, return_as="generator")(delayed(run)(product, kind, seed) for kind, seed in wanted)
    status = 0
    found: list[Case] = []
    for case in cases:
        found.append(case)
        print(
            f"{case.kind:<7}{case.seed:>3}  true MAE {case.champion:.4g} -> {case.challenger:.4g}  "
            f"{'right' if case.right else 'WRONG'}{'' if case.clear else ', NOT CLEAR'}: {case.outcome}, {case.reason}",
            flush=True,
        )
    for kind in given.kinds:
        of_kind = [case for case in found if case.kind == kind]
        right = sum(case.right and case.clear for case in of_kind)
        print(f"{kind}: {right} of {len(of_kind)} {KINDS[kind]}")
        status |= right < NEEDED * len(of_kind)
    return status


if __name__ == "__main__":
    sys.exit(main())
