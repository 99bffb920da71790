"""Settings whose product is the tests' own, whatever product this checkout ships with."""

from pathlib import Path

from support.products import SPEC

from beacon_core.platform import settings


class Settings(settings.Settings, frozen=True, kw_only=True):
    """Beacon's settings; a test that names no product has the one below tests/products."""

    product: Path = SPEC
