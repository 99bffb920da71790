"""The model card speaks of the product at hand: what is fixed in it holds for any."""

import re

from beacon_retraining.packaging.card import TEMPLATE

OF_ONE_PRODUCT = re.compile(r"\b(homes?|houses?|prices?|loans?|sales?|expensive|sample|boston)\b", re.IGNORECASE)


def test_the_fixed_text_of_a_card_names_nothing_of_one_product() -> None:
    fixed = re.sub(r"\{\w+[^}]*\}", "", TEMPLATE)
    assert OF_ONE_PRODUCT.findall(fixed) == []
