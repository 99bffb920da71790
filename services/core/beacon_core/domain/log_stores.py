"""The stores of the prediction log, by the names that the setting `BEACON_LOG_STORES` has for them."""

from typing import Literal

StoreName = Literal["sql", "lake"]
STORES: tuple[StoreName, ...] = ("sql", "lake")
"""`sql` is the database's table of predictions; `lake` is the Iceberg table of `BEACON_LAKE`."""
READ = 0
"""The place of the store that is read: the others are copies."""


def read_stores(text: str) -> tuple[StoreName, ...]:
    """Some of `STORES`, separated by commas, each once and in the order given; raises ValueError with the rule."""
    given = [name.strip() for name in text.split(",")]
    if unknown := next((name for name in given if name not in STORES), None):
        raise ValueError(f"{unknown[:64]!r} is none of {', '.join(STORES)}")
    if len(set(given)) < len(given):
        raise ValueError("names a store twice")
    by_name = {name: name for name in STORES}
    return tuple(by_name[name] for name in given if name in by_name)
