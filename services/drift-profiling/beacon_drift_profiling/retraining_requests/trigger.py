"""The trigger: a confirmed alarm that matters becomes one request to retrain, once per cause, and after a cooldown."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from beacon_core.data import retrain_requests
from beacon_core.data.database import Connection
from beacon_core.domain.product import Product
from beacon_drift_profiling.assessment.results import Alarm

REQUESTED_BY = "drift"
CAUSE_CHARACTERS = 255


class RequestOutcome(msgspec.Struct, frozen=True):
    """What became of the alarms: the cause of a new request, or why there is none."""

    cause: str | None
    why: str


def request_retraining(
    connection: Connection, product: Product, version: str, alarms: Sequence[Alarm], now: datetime
) -> RequestOutcome:
    """Write a request for what no earlier one of this model version was about.

    Not for what one client alone shows, nor while another request is open or within the cooldown after the last one.
    """
    if not alarms:
        return RequestOutcome(None, "nothing that matters")
    shared = [alarm for alarm in alarms if alarm.client is None]
    if not shared:
        names = ", ".join(sorted({alarm.client for alarm in alarms if alarm.client is not None}))
        return RequestOutcome(None, f"only rows of one client show it: {names}")
    known = retrain_requests.subjects_of(connection, REQUESTED_BY, version)
    new = [alarm for alarm in shared if alarm.about not in known]
    if not new:
        return RequestOutcome(None, "requested before")
    waiting = retrain_requests.open_cause(connection)
    if waiting is not None:
        return RequestOutcome(None, f"a request is open: {waiting}")
    last = retrain_requests.last_request_at(connection)
    pause = timedelta(hours=product.policy.retraining.cooldown_hours)
    if last is not None and now - last < pause:
        hours = f"{product.policy.retraining.cooldown_hours:g}"
        return RequestOutcome(None, f"the last request is less than {hours} hours old")
    subjects = [alarm.about for alarm in new]
    cause = f"{product.name}/{version}/{'+'.join(sorted(subjects))}"[:CAUSE_CHARACTERS]
    reason = " ".join(alarm.reason for alarm in new)
    retrain_requests.add(connection, cause, REQUESTED_BY, reason, version, subjects, now)
    return RequestOutcome(cause, "requested")
