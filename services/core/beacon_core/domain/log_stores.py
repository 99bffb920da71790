"""The stores of the prediction log, by the names that `BEACON_LOG_STORES` and `BEACON_LOG_READ` have for them."""

from typing import Literal

StoreName = Literal["sql", "lake", "kafka"]
STORES: tuple[StoreName, ...] = ("sql", "lake", "kafka")
"""`sql` is the database's table of predictions, `lake` the Iceberg table of `BEACON_LAKE`, `kafka` a topic."""
ReadStore = Literal["sql", "lake"]
READABLE: tuple[ReadStore, ...] = ("sql", "lake")
"""Those that answer questions: a topic is read from its beginning or its end, and not by id, entity or time."""


def read_stores(text: str) -> tuple[StoreName, ...]:
    """Some of `STORES`, separated by commas, each once and in the order given; raises ValueError with the rule."""
    given = [name.strip() for name in text.split(",")]
    if unknown := next((name for name in given if name not in STORES), None):
        raise ValueError(f"{unknown[:64]!r} is none of {', '.join(STORES)}")
    if len(set(given)) < len(given):
        raise ValueError("names a store twice")
    by_name = {name: name for name in STORES}
    return tuple(by_name[name] for name in given if name in by_name)


def store_that_is_read(stores: tuple[StoreName, ...], named: ReadStore | None) -> ReadStore:
    """The store that questions go to: the one that is named, else the first; raises ValueError with the rule."""
    if named is None:
        first = stores[0]
        if first == "kafka":
            raise ValueError(
                "Kafka answers no questions, so it cannot come first: put sql or lake before it, or say by "
                "BEACON_LOG_READ=lake that the lake is read, which the consumer fills from the topic"
            )
        return first
    if named not in stores and not (named == "lake" and "kafka" in stores):
        raise ValueError(f"nothing brings predictions into {named}, which BEACON_LOG_READ names")
    return named
