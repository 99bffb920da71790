"""promtool on the rules as they are, and on any number of variants of them in the same run.

Values are what an expression gives at one moment. Cases are alerts in time: their rule is evaluated minute by minute,
with only the rules that it stands on, since days of series cost seconds. Variants stand beside the original, each by a
number, so that one run tells which of them the tests notice.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from beacon_core.platform.settings import ROOT
from tests.system.alerts.cases import CASES, Case
from tests.system.alerts.series import now
from tests.system.alerts.values import VALUES

FOLDER = ROOT / "charts/monitoring/files/rules"
RULES = {file.name: file.read_text() for file in sorted(FOLDER.glob("*.yaml"))}
Rule = dict[str, Any]
LONG = 60
"""Minutes from which a case is evaluated every fourth minute."""
NUMBER = re.compile(r"__v(\d+)\b")
FAILED = re.compile(r"rule: \S*__v(\d+)[^\n]* err: ")


class Outcome(NamedTuple):
    """What promtool says against a rule as it is, and the variants that the tests notice, or that are no rules."""

    faults: str = ""
    noticed: frozenset[int] = frozenset()
    invalid: frozenset[int] = frozenset()


def rules_of(texts: dict[str, str] = RULES) -> list[Rule]:
    """Every rule, those that record first."""
    found = [rule for text in texts.values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    return sorted(found, key=lambda rule: "alert" in rule)


def alerts(texts: dict[str, str] = RULES) -> list[Rule]:
    return [rule for rule in rules_of(texts) if "alert" in rule]


def name_of(rule: Rule) -> str:
    return str(rule["alert"] if "alert" in rule else rule["record"])


def try_out(folder: Path, rules: list[Rule], variants: Mapping[int, Mapping[int, Rule]] | None = None) -> Outcome:
    """Try every rule; or, with variants, the rules that these change: by number and by their places."""
    wanted = variants or {}
    places = set[int]().union(*wanted.values()) if wanted else range(len(rules))

    def tried(place: int) -> Outcome:
        mine = {number: changed[place] for number, changed in wanted.items() if place in changed}
        given = _try_values(folder / f"{place}-values", rules[place], mine)
        left = {number: rule for number, rule in mine.items() if number not in given.noticed | given.invalid}
        return _together([given, *(_try_cases(folder, place, rules, left, far=far) for far in (False, True))])

    with ThreadPoolExecutor(2) as pool:
        return _together(list(pool.map(tried, places)))


def _together(outcomes: list[Outcome]) -> Outcome:
    return Outcome(
        "\n".join(outcome.faults for outcome in outcomes if outcome.faults),
        frozenset[int]().union(*(outcome.noticed for outcome in outcomes)),
        frozenset[int]().union(*(outcome.invalid for outcome in outcomes)),
    )


def _try_values(folder: Path, rule: Rule, variants: Mapping[int, Rule]) -> Outcome:
    values = [value for value in VALUES if value.rule == name_of(rule) and _has(rule, value.label)]
    exprs = [f"round(({rule['expr']}), 0.000001)"]
    for number, variant in variants.items():
        if variant["expr"] != rule["expr"]:
            exprs.append(f"round(({variant['expr']}), 0.000001) # __v{number}")
    tests = [
        {
            "interval": f"{value.tick}s",
            "input_series": _input(value.series),
            "promql_expr_test": [_expected(expr, f"{now(value.tick)}s", value.expected) for expr in exprs],
        }
        for value in values
    ]
    text = _promtool_test(folder, {"tests": tests})
    invalid = frozenset(number for part in _parts(text) if "parse error" in part for number in _numbers(NUMBER, part))
    return Outcome(_own(text), _numbers(NUMBER, text) - invalid, invalid)


def _try_cases(folder: Path, place: int, rules: list[Rule], variants: Mapping[int, Rule], *, far: bool) -> Outcome:
    rule, noticed = rules[place], frozenset[int]()
    cases = [case for case in CASES if case.alert == name_of(rule) and _has(rule, case.labels)]
    cases = [case for case in cases if (case.late >= LONG) == far]
    while cases:
        left = {number: variant for number, variant in variants.items() if number not in noticed}
        copies = [variant | {"alert": f"{rule['alert']}__v{number}"} for number, variant in left.items()]
        tests = [block for case in cases for block in _blocks(case, [rule["alert"], *(one["alert"] for one in copies)])]
        group = {"name": "beacon", "rules": [*_stands_on(place, rules), *copies]}
        whole = {"rule_files": ["rules.yml"], "evaluation_interval": "4m" if far else "30s", "tests": tests}
        text = _promtool_test(folder / f"{place}-{'far' if far else 'near'}-{len(left)}", whole, {"groups": [group]})
        # A rule that cannot be evaluated ends the whole test: it is noticed, and the others go on without it.
        if not (failed := _numbers(FAILED, text)):
            return Outcome(_own(text), noticed | _numbers(NUMBER, text))
        noticed |= failed
    return Outcome()


def _has(rule: Rule, labels: str) -> bool:
    """Whether a rule has these labels, so far as it has labels of their names."""
    wanted = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    return all(rule["labels"].get(name, value) == value for name, value in wanted.items())


def _stands_on(place: int, rules: list[Rule]) -> list[Rule]:
    """A rule and the recorded series that it reads, in the order of evaluation."""
    read: set[str] = set()
    found: list[Rule] = []
    for rule in reversed(rules):
        if rule is rules[place] or rule.get("record") in read:
            found.insert(0, rule)
            read.update(re.findall(r"beacon:\w+:\w+", rule["expr"]))
    return found


def _blocks(case: Case, names: list[str]) -> Iterator[dict[str, Any]]:
    moments: list[tuple[float, dict[str, str], dict[str, float]]] = [(case.late, case.series, {"{}": 1})]
    if case.early >= 0:
        moments += [(case.early, case.series, {}), (case.late, case.twin, {})]
    firing = 'count(ALERTS{alertname="NAME",alertstate="firing",' + case.labels + "}) > bool 0"
    for at, series, expected in moments:
        exprs = [firing.replace("NAME", name) for name in names]
        tests = [_expected(expr, f"{at * 60:g}s", expected) for expr in exprs]
        yield {"interval": "1m", "input_series": _input(series), "promql_expr_test": tests}


def _input(series: dict[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series.items()]


def _expected(expr: str, moment: str, samples: dict[str, float]) -> dict[str, Any]:
    found = [{"labels": labels, "value": round(value, 6)} for labels, value in samples.items()]
    return {"expr": expr, "eval_time": moment, "exp_samples": found}


def _promtool_test(folder: Path, tests: dict[str, Any], rules: dict[str, Any] | None = None) -> str:
    folder.mkdir(parents=True)
    for name, content in (("tests.yml", tests), ("rules.yml", rules)):
        (folder / name).write_text(yaml.dump(content, Dumper=yaml.CSafeDumper))
    command = ["promtool", "test", "rules", "tests.yml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _parts(text: str) -> list[str]:
    """What promtool says, an expression by itself."""
    return re.split(r"\n(?= +expr: )", text)


def _own(text: str) -> str:
    """What it says of the rule itself."""
    head, *parts = _parts(text)
    own = [part for part in parts if not NUMBER.search(part)]
    return "\n".join([head, *own]) if own or (text and not parts) else ""


def _numbers(pattern: re.Pattern[str], text: str) -> frozenset[int]:
    return frozenset(int(number) for number in pattern.findall(text))
