"""Text as people type it: one spelling of equal texts, and the nearest of the known ones."""

import difflib
import hashlib
import unicodedata
from collections.abc import Iterable

BLANKS = {
    ord(blank): " "
    for blank in "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
}
"""The blanks of Unicode, which look alike."""
MOST_COMPARED = 64
"""Characters of a misspelt text that are compared: a body may hold megabytes of it."""


def normal_text(text: str) -> str:
    """The one spelling of a text: composed Unicode (NFC), one kind of blank, and none around it."""
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text).translate(BLANKS)


def close_match(text: str, known: Iterable[str]) -> str | None:
    """The known text that is nearest to a misspelt one, in any case; None where none is near."""
    spelt = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(text.casefold()[:MOST_COMPARED], spelt, n=1)
    return spelt[near[0]] if near else None


def text_code(text: str) -> float:
    """A number for a text out of unlimited many: a hash of 52 bits, exact as a double, equal on every machine."""
    return float(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 12)
