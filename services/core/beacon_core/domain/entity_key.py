"""The key of an entity: one or several columns, each a whole number of 64 bits or text.

Feast and clients have it by column, as `{"store": 7, "sku": "A-1"}`. The prediction log and the actuals have it as one
text: the value of a single column, or a JSON list of several.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from beacon_core.domain.integers import KINDS, check_integer
from beacon_core.domain.product import Entity
from beacon_core.domain.text import normal_text

KeyValue = int | str
EntityKey = tuple[KeyValue, ...]
"""One value per column of `Entity.keys`, in that order."""
MOST_CHARACTERS = 128
"""The longest text of one column of a key."""
LONGEST_KEY = 512
"""The longest text of a whole key, which the columns of the prediction log and the actuals hold."""


class EntityKeyError(ValueError):
    """A key breaks a rule; `column` is the one that does, or None for the key as a whole."""

    def __init__(self, rule: str, column: str | None = None) -> None:
        super().__init__(rule)
        self.column = column


def read_entity(entity: Entity, value: object) -> EntityKey:
    """The key out of `{COLUMN: value}`; raises `EntityKeyError`."""
    if not isinstance(value, dict) or set(value) != set(entity.keys):
        form = ", ".join(f'"{key}": {_form(kind)}' for key, kind in entity.columns)
        raise EntityKeyError(f"entity must be {{{form}}}")
    return key_of(entity, value)


def key_of(entity: Entity, row: Mapping[str, Any]) -> EntityKey:
    """The key of a row that has the key's columns; raises `EntityKeyError`."""
    key = tuple([check_key_value(name, row[name], kind) for name, kind in entity.columns])
    if len(key) > 1 and len(key_text(key)) > LONGEST_KEY:
        raise EntityKeyError(f"the key must be at most {LONGEST_KEY} characters, as a JSON list")
    return key


def check_key_value(name: str, value: object, kind: str) -> KeyValue:
    """One column's value, text in its one spelling; raises `EntityKeyError`."""
    if kind == "int64":
        try:
            return check_integer(value)
        except ValueError as error:
            raise EntityKeyError(f"{name} {error}", name) from None
    if not isinstance(value, str):
        raise EntityKeyError(f"{name} must be text, not {KINDS.get(type(value), 'a number')}", name)
    text = normal_text(value)
    if not 1 <= len(text) <= MOST_CHARACTERS or not text.isprintable():
        raise EntityKeyError(f"{name} must be 1 to {MOST_CHARACTERS} printable characters", name)
    return text


def key_text(key: Sequence[KeyValue]) -> str:
    """The key as the prediction log has it; `parse_key` reads it."""
    return str(key[0]) if len(key) == 1 else json.dumps(list(key), ensure_ascii=False, separators=(",", ":"))


def parse_key(entity: Entity, text: str) -> EntityKey:
    """The key of `key_text`; raises `EntityKeyError` where the text is no key of this entity."""
    if len(entity.keys) == 1:
        found: list[Any] = [text]
    else:
        try:
            found = json.loads(text)
        except ValueError:
            found = []
        if not isinstance(found, list) or len(found) != len(entity.keys):
            raise EntityKeyError(f"must be a JSON list of {', '.join(entity.keys)}")
    return tuple(
        check_key_value(name, _whole(value) if kind == "int64" else value, kind)
        for (name, kind), value in zip(entity.columns, found, strict=True)
    )


def _whole(value: Any) -> Any:
    """Text that is a whole number, as an int."""
    if not isinstance(value, str):
        return value
    try:
        return int(value) if value.strip().lstrip("+-").isdecimal() and value.isascii() else value
    except ValueError:  # more digits than Python converts
        return value


def _form(kind: str) -> str:
    return "number" if kind == "int64" else "text"
