"""What people give to make so that it works on this product."""

import shlex
from pathlib import Path

from beacon_core.platform.settings import Settings


def from_here(path: Path) -> Path:
    """The path as short as it is from this folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def product_argument(settings: Settings) -> str:
    """A blank and the variable that names the product; nothing for the usual one."""
    if settings.product == Settings().product:
        return ""
    return f" PRODUCT={shlex.quote(str(from_here(settings.product.parent)))}"
