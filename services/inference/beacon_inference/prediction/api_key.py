"""The API key of clients that write actuals, read the prediction log, or send synthetic requests."""

import hmac

from beacon_core.domain.errors import BeaconError


def check_api_key(key: str, header: str | None, authorization: str | None) -> None:
    """Compare X-API-Key or Authorization (Bearer) with `key`, if one is set; raises BeaconError `unauthorized`."""
    if not key:
        return
    sent = header or (authorization or "").removeprefix("Bearer ")
    if not hmac.compare_digest(sent.encode(), key.encode()):
        raise BeaconError("unauthorized", "send the API key as X-API-Key or as a Bearer token", "X-API-Key")
