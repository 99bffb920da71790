"""Made-up input: a little of it in `make test`, more in `make test-fuzz`; the same every time unless a seed is named.

What fails is then what the change did, and not how fast or how lucky the machine is.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import seed, settings

TestT = TypeVar("TestT", bound=Callable[..., None])
SEED = os.environ.get("BEACON_FUZZ_SEED")
EXAMPLES = int(os.environ.get("BEACON_FUZZ_EXAMPLES", "10"))
"""What Schemathesis makes up for each operation."""
PHASES = "examples,coverage,fuzzing,stateful" if "BEACON_FUZZ_EXAMPLES" in os.environ else "fuzzing"
"""Its other phases go through all bounds of the schemas, which takes longer than `make test` has."""


def cases(few: int) -> int:
    """How many cases a test tries: so few, or BEACON_FUZZ_CASES of them."""
    return int(os.environ.get("BEACON_FUZZ_CASES", few))


def fuzzing(few: int, **options: Any) -> Callable[[TestT], TestT]:
    """Hypothesis with `cases(few)` cases and other options of its settings."""
    chosen = settings(max_examples=cases(few), **options)

    def decorated(test: TestT) -> TestT:
        return chosen(test if SEED is None else seed(int(SEED))(test))

    return decorated


def load_profile() -> None:
    """Let Hypothesis make up the same cases every time, none with a time limit, which a busy machine misses."""
    settings.register_profile("beacon", deadline=None, derandomize=SEED is None, database=None)
    settings.load_profile("beacon")
