"""Values as YAML writes them: what a reader of YAML may take for another value is quoted."""

import json
import re
from collections.abc import Iterable, Mapping

PLAIN = re.compile(r"[A-Za-z_][\w/.-]*(?: [\w/.-]+)*", re.ASCII)
WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"})
"""Words that YAML 1.1 or a reader takes for a boolean, a null or a number."""
MOST_DIGITS = 1e15


def word(text: str) -> str:
    """A text: plain where every reader takes it as text, else in double quotes."""
    if PLAIN.fullmatch(text) and text.lower() not in WORDS and text.isascii():
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    # YAML reads these as line breaks or refuses them; JSON leaves them as they are.
    return "".join(
        char if char.isprintable() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
        for char in quoted
    )


def scalar(value: object) -> str:
    """A value: a number without a fraction that is none, null, true, false, or a text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < MOST_DIGITS else repr(value)
    return word(str(value))


def flow(value: object) -> str:
    """A value on one line, with mappings and lists in brackets."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{word(str(key))}: {flow(of)}" for key, of in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def comment(text: str, indent: str = "", width: int = 118) -> str:
    """Lines of a comment, each at most `width` characters long."""
    lines, line = [], ""
    for part in _printable(text).split():
        if line and len(indent) + 2 + len(line) + 1 + len(part) > width:
            lines.append(line)
            line = part
        else:
            line = f"{line} {part}" if line else part
    return "".join(f"{indent}# {each}\n" for each in [*lines, line] if each)


def block(entries: Iterable[tuple[str, object, str]]) -> str:
    """A block mapping of (key, value, comment), each value on one line below its comment."""
    return "".join(f"{comment(why, '  ') if why else ''}  {word(key)}: {flow(value)}\n" for key, value, why in entries)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
