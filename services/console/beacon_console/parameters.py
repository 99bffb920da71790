"""What the pages read from a URL: windows, ids, choices; and the 404 for what does not exist."""

from typing import Any

from flask import request

from beacon_core.data.drift_results import window_name
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product

MAIN_WINDOW = "7d"


def windows_of(product: Product) -> tuple[str, ...]:
    """Name the drift windows as the store does."""
    return tuple(window_name(days) for days in product.policy.drift.windows_days)


def found_or_404(found: Any, sentence: str, code: str = "not_found") -> Any:
    """Return what was found; BeaconError 404 when it is None."""
    if found is None:
        raise BeaconError(code, sentence)
    return found


def query_choice(name: str, allowed: tuple[str, ...], default: str) -> str:
    """Return a query parameter that must be one of a few; BeaconError 422 for anything else."""
    value = request.args.get(name, default)
    if value not in allowed:
        raise BeaconError("invalid_type", f"{name} must be {', '.join(allowed[:-1])} or {allowed[-1]}.", name)
    return value
