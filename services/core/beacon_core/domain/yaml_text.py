"""YAML as people write it: plain scalars as in YAML 1.2, and each mistake reported in one line.

PyYAML implements YAML 1.1: `NO` is false, `010` is 8, `12:30` is 750, `1e3` is text, and the last of two equal keys
wins. Here a plain scalar is null, true, false or a decimal number, and any other is text, as in YAML 1.2.
"""

import math
import re
from typing import Any

import msgspec
import msgspec.inspect
import yaml
from yaml import Node, ScalarNode, SequenceNode
from yaml.composer import Composer

MOST_VALUES = 100_000
"""More values than this come from nested aliases, or from a file that no person wrote."""
MOST_DIGITS = 18
CONSTANTS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
NUMBER = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
NOT_FINITE = re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE)
TOP_KEY = re.compile(r"""["']?([^\s#"'][^:]*?)["']?\s*:""")
NO_YAML = "is not YAML in UTF-8"
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text (in quotes)",
    "object": "a mapping",
    "array": "a list",
}
RULES = {
    r"Expected `([\w |]+)`, got `null`": "must be {0}, is empty",
    r"Expected `([\w |]+)`, got `\w+`": "must be {0}, is {value}",
    r"Object missing required field `(\S+)`": "lacks the key `{0}`",
    r"Object contains unknown field `(\S+)`": "has the unknown key `{0}`",
    r"Expected `array` of length (\d+), got (\d+)": "must be a list of length {0}, has {1}",
    r"Invalid enum value .*": "must be {allowed}, is {value}",
}
PLACE = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
DEFAULT_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


class YamlError(ValueError):
    """A mistake in a YAML file: its key, such as `features.size.valid[0]`, and the rule that it breaks."""

    def __init__(self, key: str, rule: str) -> None:
        super().__init__(f"{key}: {rule}")
        self.key = key
        self.rule = rule


def parse_yaml(content: bytes, most_values: int = MOST_VALUES) -> Any:
    """Read a file's one document, of at most so many values; raises `YamlError`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlError("(file)", f"{NO_YAML}: line {line} holds the byte 0x{content[error.start]:02x}") from error
    try:
        node = _compose(text)
        return None if node is None else _Reader(most_values).value(node, "")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        rule = f"{NO_YAML}: line {line} holds the character U+{ord(text[error.position]):04X}"
        raise YamlError("(file)", rule) from error
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(text, error) from error
    except RecursionError as error:
        raise YamlError("(file)", f"{NO_YAML}: it is nested too deeply") from error


def _compose(text: str) -> Node | None:
    """Parse with libyaml, which takes an eighth of the time; where it refuses, PyYAML's own parser says why.

    libyaml allows tabs where PyYAML does not.
    """
    if "\t" in text:
        return yaml.compose(text, Loader=_Loader)
    try:
        return yaml.compose(text, Loader=_FastLoader)
    except (yaml.YAMLError, UnicodeError):
        return yaml.compose(text, Loader=_Loader)


class _Loader(yaml.SafeLoader):
    """Composes nodes without resolving plain scalars."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the base class's own attribute


class _FastLoader(Composer, yaml.CSafeLoader):
    """The same, from the events of libyaml. PyYAML's composer in C, which is left out, crashes at deep nesting."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the base class's own attribute

    def __init__(self, stream: str) -> None:
        yaml.CSafeLoader.__init__(self, stream)
        Composer.__init__(self)


class _Reader:
    """Converts nodes to values, and keeps the key of each for error messages."""

    def __init__(self, most_values: int) -> None:
        self._most = most_values
        self._made = 0
        self._open: set[int] = set()

    def value(self, node: Node, key: str) -> Any:
        """Convert the node at `key`."""
        self._made += 1
        if self._made > self._most:
            raise YamlError("(file)", f"has more than {self._most} values: aliases of aliases?")
        if node.tag not in DEFAULT_TAGS:
            raise YamlError(shown_key(key), f"has the tag {node.tag}; tags are not supported")
        if isinstance(node, ScalarNode):
            return node.value if node.style else _plain(node.value, key)
        if id(node) in self._open:
            raise YamlError(shown_key(key), "is an alias of a value that contains it")
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.value(item, f"{key}[{number}]") for number, item in enumerate(node.value)]
            return self._mapping(node, key)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: Node, key: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for name_node, node_of in node.value:
            if not isinstance(name_node, ScalarNode):
                raise YamlError(shown_key(key), f"line {_line(name_node)}: a key must be plain text")
            name = name_node.value
            place = f"{key}.{name}" if key else name
            if name in lines:
                raise YamlError(shown_key(place), f"is given twice, in lines {lines[name]} and {_line(name_node)}")
            lines[name] = _line(name_node)
            value = self.value(node_of, place)
            if name != "<<" or name_node.style:
                own[name] = value
                continue
            for other in value if isinstance(value, list) else [value]:
                if not isinstance(other, dict):
                    raise YamlError(shown_key(place), "must be a mapping, or a list of them")
                merged = other | merged  # of several, the first one counts
        return merged | own


def _plain(text: str, key: str) -> Any:
    """Convert a scalar without quotes."""
    if text in CONSTANTS or (text.lower() in CONSTANTS and (text.isupper() or text.istitle())):
        return CONSTANTS[text.lower()]
    if NOT_FINITE.fullmatch(text):
        raise YamlError(shown_key(key), f"must be finite, is {text}")
    if not NUMBER.fullmatch(text):
        return text
    digits = text.lstrip("+-")
    if digits[0] == "0" and digits[1:2].isdigit():
        raise YamlError(shown_key(key), f"is {text}: a number must not begin with 0 (for text, write it in quotes)")
    number = float(text)
    if not math.isfinite(number) or (digits.isdecimal() and len(digits) > MOST_DIGITS):
        raise YamlError(shown_key(key), f"is too large a number (more than {MOST_DIGITS} digits)")
    if digits.isdecimal():
        return int(text)
    # People write 1e3 for 1000, also where a whole number is expected.
    return int(number) if "." not in text and number.is_integer() and abs(number) < 10**MOST_DIGITS else number


def _syntax_error(text: str, error: yaml.MarkedYAMLError) -> YamlError:
    """Describe a text that does not parse, by its key and the rule."""
    mark = error.problem_mark or error.context_mark
    problem = " ".join((error.problem or error.context or "it does not parse").split())
    if mark is None:
        return YamlError("(file)", f"{NO_YAML}: {problem}")
    lines = text.splitlines()
    if "'\\t'" in problem:
        problem = "a tab, where YAML allows only spaces"
    above = (TOP_KEY.match(line) for line in reversed(lines[: mark.line + 1]))
    key = next((match[1] for match in above if match), "(file)")
    return YamlError(shown_key(key), f"{NO_YAML}: line {mark.line + 1}, column {mark.column + 1}: {problem}")


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def shown_key(key: str) -> str:
    """A key on one line."""
    return (key if key.isprintable() else repr(key)) or "(top)"


def explain(error: msgspec.ValidationError, raw: Any, kind: type) -> tuple[str, str]:
    """Return key and rule of the error of `msgspec.convert(raw, kind)`; the key is empty for `raw` itself."""
    rule, _, place = str(error).partition(" - at `$")
    parts = _parts(place.rstrip("`"), raw, kind, str(error))
    for pattern, template in RULES.items():
        if match := re.fullmatch(pattern, rule):
            found = [_kinds(group) for group in match.groups()]
            rule = template.format(
                *found, value=_described(_at(raw, parts)), allowed=" or ".join(_allowed(kind, parts))
            )
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
    return shown_key(key) if key else "", rule


def _kinds(names: str) -> str:
    """What people call msgspec's types, such as `float | null`; null goes without saying."""
    kinds = [name for name in names.split(" | ") if name != "null"]
    if "float" in kinds:
        kinds = [name for name in kinds if name != "int"]
    return " or ".join(KINDS.get(name, name) for name in kinds)


def _parts(place: str, raw: Any, kind: type, message: str) -> list[str | int]:
    """Split msgspec's path to a value into keys and indexes; its `[...]` stands for some key of a mapping."""
    parts: list[str | int] = []
    for match in PLACE.finditer(place):
        name, number = match.groups()
        if number == "...":
            parts.append(next(key for key in _at(raw, parts) if _fails(_only(raw, parts, key), kind, message)))
        else:
            parts.append(name or int(number))
    return parts


def _at(raw: Any, parts: list[str | int]) -> Any:
    for part in parts:
        raw = raw[part]
    return raw


def _only(raw: Any, parts: list[str | int], key: str) -> Any:
    """`raw` with one key alone in the mapping at `parts`."""
    if not parts:
        return {key: raw[key]}
    whole = raw.copy()
    whole[parts[0]] = _only(raw[parts[0]], parts[1:], key)
    return whole


def _fails(raw: Any, kind: type, message: str) -> bool:
    try:
        msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        return str(error) == message
    return False


def _allowed(kind: type, parts: list[str | int]) -> list[str]:
    """The few values that the type of a place lists."""
    place = msgspec.inspect.type_info(kind)
    for part in parts:
        if isinstance(place, msgspec.inspect.StructType):
            place = next(field.type for field in place.fields if field.encode_name == part)
        elif isinstance(place, msgspec.inspect.DictType):
            place = place.value_type
        elif isinstance(place, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
            place = place.item_type
    kinds = place.types if isinstance(place, msgspec.inspect.UnionType) else (place,)
    listed = [str(value) for one in kinds if isinstance(one, msgspec.inspect.LiteralType) for value in one.values]
    return listed + ["a list"] * any(isinstance(one, msgspec.inspect.VarTupleType) for one in kinds[1:])


def _described(value: Any) -> str:
    """A value as the file's reader sees it, on one line."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else f"{value}"
