"""What the doctor finds: one line per check, its state and the command that mends it."""

from typing import Literal

import msgspec

State = Literal["ok", "warn", "fail"]
ORDER: tuple[State, ...] = ("ok", "warn", "fail")


class Finding(msgspec.Struct, frozen=True):
    """One check."""

    check: str
    """What was looked at, such as `port 8080`."""
    state: State
    """ok, warn or fail."""
    text: str
    """What was found."""
    mend: str = ""
    """The command, or the deed, that mends it."""


class DoctorResult(msgspec.Struct, frozen=True):
    """All that was looked at."""

    state: State
    """The worst state of all checks."""
    findings: list[Finding]
    """Each check: `check`, `state` (ok, warn or fail), `text`, and `mend`, the command that mends it."""


def result_of(findings: list[Finding]) -> DoctorResult:
    """The findings and the worst of their states."""
    worst = max((ORDER.index(finding.state) for finding in findings), default=0)
    return DoctorResult(ORDER[worst], findings)
