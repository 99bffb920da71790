"""The sign that each number of a column is written with: a currency, a percent sign or a unit."""

import re
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

CURRENCIES = r"(?:US|R|C|A|HK|NZ)?\$|[€£¥₹₩₽]|(?:USD|EUR|GBP|CHF|JPY|CAD|AUD|INR|CNY|SEK|NOK|DKK)(?=\s)"
NUMBER = r"(?:\d|[.,]\d)"
SIGNED = re.compile(
    rf"(?:[+-]?\s*(?P<before>{CURRENCIES})\s*[+-]?{NUMBER}.*|[+-]?{NUMBER}[\d.,'\u2019\s]*?\s*(?P<behind>[^\W\d_]{{1,8}}|"
    r"[%‰$€£¥₹₩₽°][CF]?|[a-zµ]{1,4}[²³]|[a-zA-Zµ]{1,4}/[a-zA-Z]{1,4}))"
)
BARE = re.compile(r"(?<![\w.])[$€£¥₹%]\s*|\s*[$€£¥₹%]$")
FIRST = 50
"""Texts that are looked at first: most columns of text have no sign at all."""
BLANKS = r"[\s\x{a0}\x{202f}]*"
UNREAD = "\0"
"""Stands for a text that is no number of the column's kind."""


def bare(cell: str) -> str:
    """A cell without a currency or a percent sign at one of its ends."""
    return BARE.sub("", cell, count=1)


def sign_of(texts: Sequence[str], least_share: float) -> str:
    """The one sign of so large a share of different texts; empty where there is none."""
    if not any(map(SIGNED.fullmatch, texts[:FIRST])):
        return ""
    found = Counter(match["before"] or match["behind"] for text in texts if (match := SIGNED.fullmatch(text)))
    sign, count = found.most_common(1)[0] if found else ("", 0)
    return sign if len(found) == 1 and count >= max(least_share * len(texts), 2) else ""


def without_sign(cells: pa.Array, sign: str) -> pa.Array:
    """The numbers of texts that have the sign; another text becomes one that is no number."""
    mark = re.escape(sign)
    before = rf"^([+-]?){BLANKS}{mark}{BLANKS}([+-]?[0-9.,].*)$"
    behind = rf"^(.*[0-9.,]){BLANKS}{mark}$"
    is_before = pc.match_substring_regex(cells, before)
    is_behind = pc.match_substring_regex(cells, behind)
    bare_cells = pc.replace_substring_regex(pc.replace_substring_regex(cells, behind, r"\1"), before, r"\1\2")
    unread = pc.if_else(pc.is_valid(cells), UNREAD, None)
    return pc.if_else(pc.xor(is_before, is_behind), bare_cells, unread)
