"""The plan of a lookup: what a request reads, resolved once against the registry."""

from typing import NamedTuple

from feast import FeatureView

from beacon_feature_serving.catalog.keys import KeyReader


class ViewRead(NamedTuple):
    """One read of one view: `columns` are the features wanted, `keys` the request's entity columns to read them by.

    `table` is the view's name in SQLite, `prefix` its name in Redis; `ttl_seconds` is infinite where none is set.
    `undated`: the rows at the base time have no time of their own, and do not age.
    """

    view: FeatureView
    table: str
    prefix: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    read_keys: KeyReader
    ttl_seconds: float
    undated: bool = False


class LookupPlan(NamedTuple):
    """A request resolved: the reads, the names of the response's columns (keys first), and the entity columns needed.

    `aliases` maps what a client may call an entity column to its join key; `versions` are (view, version) pairs.
    """

    reads: tuple[ViewRead, ...]
    names: tuple[str, ...]
    keys: tuple[str, ...]
    aliases: dict[str, str]
    versions: tuple[tuple[str, int], ...]
