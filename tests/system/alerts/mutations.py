"""Every small change of a rule that one might make by mistake: what tests of the rules must notice.

An expression is changed one place at a time: comparisons, operators, numbers, windows, label matchers, aggregations,
functions, grouping, and whatever can be left out; then `for` and `keep_firing_for`.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

Rule = dict[str, Any]

COMPARISONS = (">", ">=", "<", "<=", "==", "!=")
OPPOSITE = {"+": "-", "-": "+", "*": "/", "/": "*"}
SETS = ("and", "or", "unless")
STRENGTH = {"or": 0, "and": 1, "unless": 1, **dict.fromkeys(COMPARISONS, 2), "+": 3, "-": 3, "*": 4, "/": 4}
AGGREGATIONS = ("sum", "max", "min", "avg", "count")
FUNCTIONS = {
    "increase": ("rate", "delta"),
    "rate": ("irate", "delta"),
    "max_over_time": ("min_over_time", "avg_over_time"),
}
GROUPING = ("by", "on", "ignoring", "group_left")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FACTORS = (0.5, 0.9, 1.1, 2)

TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<braces>\{[^}]*\})|(?P<window>\[[^\]]*\])|(?P<number>\d+(?:\.\d+)?)"""
    r"""|(?P<word>[a-zA-Z_:][\w:]*)|(?P<sign>[<>=!]=|[-+*/<>(),])"""
)
MATCHER = re.compile(r'(?P<name>\w+)\s*(?P<sign>=~|!~|!=|=)\s*"(?P<value>[^"]*)"')


class Token(NamedTuple):
    """A word, sign, number, window `[5m]` or selector `{...}` of an expression; `begin` to `end` is where it stands."""

    kind: str
    text: str
    begin: int
    end: int


class Mutation(NamedTuple):
    """What was done to a rule, and the rule as it is then."""

    what: str
    rule: Rule


def mutations(rule: Rule) -> Iterator[Mutation]:
    """Every mutation of one rule, each expression once."""
    seen = {rule["expr"]}
    for what, expr in _expressions(rule["expr"]):
        if expr not in seen:
            seen.add(expr)
            yield Mutation(what, rule | {"expr": expr})
    for key in ("for", "keep_firing_for"):
        if key in rule:
            yield Mutation(f"without {key}", {name: value for name, value in rule.items() if name != key})
            for factor in (0.5, 2):
                longer = _duration(rule[key], factor)
                yield Mutation(f"{key}: {rule[key]} -> {longer}", rule | {key: longer})
    if "alert" in rule and "for" not in rule:
        yield Mutation("with for: 10m", rule | {"for": "10m"})


def _expressions(expr: str) -> Iterator[tuple[str, str]]:
    tokens = _tokens(expr)
    for place, token in enumerate(tokens):
        for instead in _instead(token, tokens, place):
            changed = expr[: token.begin] + instead + expr[token.end :]
            yield f"{_around(expr, token)} -> {instead or 'nothing'}", changed
        if token.text in STRENGTH:
            begin, middle, right, end = _operands(tokens, place, len(expr))
            left, after = expr[begin:middle], expr[right:end]
            yield f"without {_short(expr[middle:end])}", expr[:begin] + left + expr[end:]
            yield f"without {_short(expr[begin:right])}", expr[:begin] + after.lstrip() + expr[end:]
        if token.text in GROUPING:
            end = _closing(tokens, place + 1)
            inside = expr[tokens[place + 1].end : tokens[end].begin]
            yield f"without {expr[token.begin : tokens[end].end]}", expr[: token.begin] + expr[tokens[end].end :]
            names = [name.strip() for name in inside.split(",")]
            for name in names if len(names) > 1 else []:
                rest = ", ".join(other for other in names if other != name)
                changed = expr[: tokens[place + 1].end] + rest + expr[tokens[end].begin :]
                yield f"{token.text} ({inside}) without {name}", changed
        elif (
            token.kind == "word"
            and tokens[place + 1 : place + 2]
            and tokens[place + 1].text == "("
            and token.text not in STRENGTH
        ):
            end = _closing(tokens, place + 1)
            inside = expr[tokens[place + 1].end : tokens[end].begin]
            if inside:
                yield (
                    f"without {token.text} of {_short(inside)}",
                    expr[: token.begin] + inside + expr[tokens[end].end :],
                )


def _tokens(expr: str) -> list[Token]:
    found, place = [], 0
    while place < len(expr):
        match = TOKEN.match(expr, place)
        assert match is not None, f"cannot read {expr[place:]!r}"
        if match.lastgroup != "space":
            found.append(Token(str(match.lastgroup), match[0], *match.span()))
        place = match.end()
    return found


def _instead(token: Token, tokens: list[Token], place: int) -> Iterator[str]:
    """What else might stand in a token's place."""
    if token.text in COMPARISONS:
        yield from (sign for sign in COMPARISONS if sign != token.text)
    elif token.text in OPPOSITE:
        yield OPPOSITE[token.text]
    elif token.text in SETS:
        yield from (word for word in SETS if word != token.text)
    elif token.text in AGGREGATIONS:
        yield from (word for word in AGGREGATIONS if word != token.text)
    elif token.text in FUNCTIONS:
        yield from FUNCTIONS[token.text]
    elif token.kind == "number":
        number = float(token.text)
        yield from (f"{number * factor:g}" for factor in FACTORS) if number else ("1", "(-1)")
    elif token.kind == "window":
        yield from (f"[{_duration(token.text[1:-1], factor)}]" for factor in (0.5, 2))
    elif token.kind == "braces":
        yield from _selectors(token.text[1:-1])


def _selectors(text: str) -> Iterator[str]:
    """Selectors with one matcher left out, turned round, or with less in it."""
    matchers = [match.groups() for match in MATCHER.finditer(text)]
    for place, (name, sign, value) in enumerate(matchers):
        others = [None, (name, {"=": "!=", "=~": "!~"}[sign], value)]
        if sign == "=~":
            others += [(name, sign, less) for less in _less(value)]
        else:
            others.append((name, sign, value + "x"))
        for other in others:
            kept = [*matchers[:place], *([other] if other else []), *matchers[place + 1 :]]
            yield "{" + ", ".join(f'{name}{sign}"{value}"' for name, sign, value in kept) + "}"


def _less(pattern: str) -> Iterator[str]:
    """A regular expression with one of its alternatives, or the rest of it, left out."""
    for match in re.finditer(r"[^|()]+", pattern):
        before, after = pattern[: match.start()], pattern[match.end() :]
        if after.startswith("|"):
            yield before + after[1:]
        elif before.endswith("|"):
            yield before[:-1] + after
        elif before or after:
            yield before + after


def _operands(tokens: list[Token], place: int, length: int) -> tuple[int, int, int, int]:
    """Where the left operand begins and ends, and where the right one begins and ends."""
    strength, depth = STRENGTH[tokens[place].text], 0
    begin, end = 0, length
    for earlier in range(place - 1, -1, -1):
        text = tokens[earlier].text
        depth += {")": 1, "(": -1}.get(text, 0)
        if depth < 0 or (depth == 0 and (text == "," or STRENGTH.get(text, strength) < strength)):
            begin = tokens[_modified(tokens, earlier)].end
            break
    right = tokens[_modified(tokens, place)].end
    depth = 0
    for later in range(_modified(tokens, place) + 1, len(tokens)):
        text = tokens[later].text
        depth += {"(": 1, ")": -1}.get(text, 0)
        if depth < 0 or (depth == 0 and (text == "," or STRENGTH.get(text, 9) <= strength)):
            end = tokens[later - 1].end
            break
    return begin, tokens[place - 1].end, right, end


def _modified(tokens: list[Token], place: int) -> int:
    """The last token of an operator with its `on (...)`, `ignoring (...)` and `group_left (...)`."""
    while place + 1 < len(tokens) and tokens[place + 1].text in GROUPING:
        place = _closing(tokens, place + 2)
    return place


def _closing(tokens: list[Token], opening: int) -> int:
    depth = 0
    for place in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[place].text, 0)
        if depth == 0:
            return place
    raise AssertionError("a bracket is open")


def _duration(text: str, factor: float) -> str:
    seconds = sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text)) * factor
    return f"{seconds:g}s"


def _around(expr: str, token: Token) -> str:
    """The token with a little of what stands before it, which tells one from another."""
    before = expr[: token.begin].rstrip()
    return f"...{before[-28:]} [{token.text}]" if before else f"[{token.text}]"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) < 70 else f"{flat[:33]} ... {flat[-33:]}"
