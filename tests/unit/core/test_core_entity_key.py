"""Keys of entities: one column or several, whole numbers or text, exact on every way."""

from typing import Any

import pytest

from beacon_core.domain.entity_key import EntityKeyError, key_text, parse_key, read_entity
from beacon_core.domain.product_entry import Entity

NUMBER = Entity(name="shop", key="shop_id")
TEXT = Entity(name="sku", key="sku", type="text")
BOTH = Entity(name="stock", key=("shop", "sku"), type={"sku": "text"})
LONG = Entity(name="long", key=tuple("abcd"), type="text")


@pytest.mark.parametrize(
    ("entity", "value", "key", "text"),
    [
        (NUMBER, {"shop_id": 17}, (17,), "17"),
        (NUMBER, {"shop_id": 2**63 - 1}, (2**63 - 1,), "9223372036854775807"),
        (NUMBER, {"shop_id": -(2**63)}, (-(2**63),), "-9223372036854775808"),
        (TEXT, {"sku": " A-1 "}, ("A-1",), "A-1"),
        (TEXT, {"sku": "17"}, ("17",), "17"),
        (BOTH, {"sku": '["', "shop": 7}, (7, '["'), '[7,"[\\""]'),
    ],
)
def test_a_key_is_read_and_kept_as_text(entity: Entity, value: Any, key: tuple[Any, ...], text: str) -> None:
    assert read_entity(entity, value) == key
    assert key_text(key) == text
    assert parse_key(entity, text) == key


@pytest.mark.parametrize(
    ("entity", "value", "rule"),
    [
        (NUMBER, {"shop": 17}, 'entity must be {"shop_id": number}'),
        (BOTH, {"shop": 17}, 'entity must be {"shop": number, "sku": text}'),
        (NUMBER, {"shop_id": "17"}, "shop_id must be a whole number, not a string"),
        (NUMBER, {"shop_id": 1e300}, "shop_id must be written without a fraction"),
        (TEXT, {"sku": 17}, "sku must be text, not a number"),
        (TEXT, {"sku": " "}, "sku must be 1 to 128 printable characters"),
        (TEXT, {"sku": "a\nb"}, "sku must be 1 to 128 printable characters"),
        (TEXT, None, 'entity must be {"sku": text}'),
        (LONG, dict.fromkeys("abcd", "x" * 128), "the key must be at most 512 characters"),
    ],
)
def test_a_broken_rule_is_named(entity: Entity, value: Any, rule: str) -> None:
    with pytest.raises(EntityKeyError) as caught:
        read_entity(entity, value)
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("entity", "text"),
    [(NUMBER, "a"), (NUMBER, "9" * 5000), (BOTH, "7"), (BOTH, "[7]"), (BOTH, '["7","a",1]'), (TEXT, "")],
)
def test_a_text_that_is_no_key_is_refused(entity: Entity, text: str) -> None:
    with pytest.raises(EntityKeyError):
        parse_key(entity, text)
