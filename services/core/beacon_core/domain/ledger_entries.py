"""The entries of the ledger of promotions: the values of a row."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from beacon_core.domain.pins import Pin

Action = Literal["promote", "roll_back", "recover", "watch", "adopt"]
"""`adopt`: somebody else put the model into service, and the ledger records that."""


Step = Literal["adopt", "begin", "check", "dark", "shadow", "canary", "release", "verify", "watch", "end"]


Outcome = Literal["begun", "pass", "fail", "inconclusive", "promoted", "rolled_back", "kept", "refused"]
"""Of a row. A run's last row has the step `end` and one of `promoted`, `rolled_back` (users had seen the model),
`refused` (it broke a limit before they did) or `kept` (inconclusive, the old model stays in service)."""


Reason = Literal[
    "package_missing",
    "digest_mismatch",
    "not_signed",
    "schema_mismatch",
    "crash_at_load",
    "golden_mismatch",
    "error_rate",
    "not_finite",
    "latency",
    "output_collapse",
    "output_shift",
    "output_disagreement",
    "out_of_range",
    "memory",
    "realised_error",
    "too_few_samples",
    "version_skew",
    "not_ready",
    "no_way_back",
    "other_changes",
    "stale_verdict",
    "interrupted",
    "by_hand",
    "target_down",
]
"""Why a model was rejected or rolled back: a closed set."""


ENDS: tuple[str, ...] = ("promoted", "rolled_back", "kept", "refused")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One row: who or what (`actor`) did which step, with which outcome and evidence.

    The run replaces `before` by `after`: the candidate, or the model that a rollback restores. `serving` are the models
    that may answer from `moment` on.
    """

    key: str
    run: str
    moment: datetime
    product: str
    target: str
    actor: str
    action: Action
    step: Step
    outcome: Outcome
    reason: Reason | None = None
    message: str = ""
    before: Pin | None = None
    after: Pin | None = None
    serving: tuple[Pin, ...] = ()
    evidence: dict[str, Any] | None = None
