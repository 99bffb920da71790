"""Quotas of clients, as this process counts them: what is over one is answered 429, and says when to try again."""

import math
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry

from beacon_core.domain.api_keys import ApiKey
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.quotas import UNLIMITED, Excess, Meter, Quota
from beacon_core.domain.token_clients import PREFIX
from beacon_core.observability import metrics
from beacon_core.observability.client_labels import ClientLabels
from beacon_core.web.http import Request
from beacon_core.web.loop_metrics import LoopCounter

HEADER = "X-API-Key"
MOST_METERS = 10_000
"""Clients with a JWT whose use is kept; beyond, who came first is forgotten."""


class Quotas:
    """What each client has taken. All keys of a client share its quota; each client with a JWT has `of_tokens`.

    `clock` gives the seconds since 1970. A quota of a second is measured by the time at which a request began, of
    a clock that never goes back.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float], of_tokens: Quota = UNLIMITED) -> None:
        self._meters: dict[str, Meter] = {}
        self._token_meters: dict[str, Meter] = {}
        self._of_tokens = of_tokens
        self._labels = ClientLabels()
        self._clock = clock
        self._rejections = LoopCounter(metrics.CLIENT_QUOTA_REJECTIONS, registry)

    def accept(self, keys: Iterable[ApiKey]) -> None:
        """Use the quotas of these keys from now on; what a client has taken stays taken."""
        meters: dict[str, Meter] = {}
        for name, quota in {key.name: key.quota for key in keys if key.quota != UNLIMITED}.items():
            meter = meters[name] = self._meters.get(name) or Meter(quota)
            meter.quota = quota
            for limit, most in quota._asdict().items():
                if most is not None:
                    self._rejections.labels(name, limit)
        self._meters = meters

    def take_request(self, request: Request) -> None:
        """Take one request of its client's quota; raises BeaconError `quota_exceeded`."""
        meter = self._meter(request.client)
        if meter is not None and (excess := meter.take_request(request.started, self._clock())):
            raise self._rejected(request.client, excess, 1)

    def take_rows(self, request: Request, rows: int) -> None:
        """Take the rows of a request; raises BeaconError `quota_exceeded`, and `batch_too_large` for a whole day's."""
        meter = self._meter(request.client)
        if meter is not None and (excess := meter.take_rows(rows, request.started, self._clock())):
            raise self._rejected(request.client, excess, rows)

    def _meter(self, client: str) -> Meter | None:
        meter = self._meters.get(client)
        if meter is not None or self._of_tokens == UNLIMITED or not client.startswith(PREFIX):
            return meter
        meter = self._token_meters.get(client)
        if meter is None:
            if len(self._token_meters) >= MOST_METERS:
                del self._token_meters[next(iter(self._token_meters))]
            meter = self._token_meters[client] = Meter(self._of_tokens)
        return meter

    def _rejected(self, client: str, excess: Excess, amount: int) -> BeaconError:
        self._rejections.labels(self._labels.of(client), excess.quota).inc()
        kind, _, period = excess.quota.partition("_per_")
        who = client if client.startswith(PREFIX) else f"the API key of {client}"
        rule = f"{who} may send {excess.limit:.15g} {kind} per {period}"
        if math.isinf(excess.wait):
            return BeaconError("batch_too_large", f"{rule}, and this request has {amount}", HEADER)
        seconds = math.ceil(excess.wait)
        return BeaconError("quota_exceeded", f"{rule}; try again in {seconds} s", HEADER, retry_after=seconds)
