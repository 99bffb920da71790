"""Edits of the rules, each of which the cases must catch: what no case sees may as well not be in the rule."""

import copy
from collections.abc import Iterator
from pathlib import Path

from tests.system.alerts.promtool import Rule, rules_of, try_out

# What is written, and what would be wrong: in the first rule that holds it.
EDITS = (
    ('absent(beacon_build_info{service="inference', 'count(beacon_build_info{service="inference'),
    ('status=~"5.."', 'status=~"4.."'),
    ('endpoint=~".*(predict|predict/batch|infer)|/invocations"', 'endpoint=~".+"'),
    ("http_slow_requests_total", "http_requests_total"),
    ("> 20 * (1", "> 45 * (1"),
    ("> 20 * (1", "> 14.4 * (1"),
    ("> 14.4 * (1", "> 40 * (1"),
    ("> 14.4 * (1", "> 10 * (1"),
    ("> 6 * ", "> 3 * "),
    ("14.4 * 0.01", "0.01"),
    ("[10m])) > 20", "[10m])) > 2"),
    ("|model_not_ready", ""),
    ("dropped_total[10m])) > 0", "dropped_total[10m])) > 3"),
    ("max by (instance) (max_over_time", "max(max_over_time"),
    ("beacon_store_up) == 0", "beacon_store_up) == 1"),
    ('"internal|overloaded"', '"internal"'),
    ("[10m])) > 5", "[10m])) > 0"),
    ('status=~"400|422"', 'status=~"4.."'),
    ("> 0.5", "> 0.3"),
    ("out_of_range_page", "out_of_range_share"),
    ('outcome="refused"', 'outcome="swapped"'),
    ('role="champion"', 'role=~".+"'),
    ("beacon_drift_confirmed) == 1", "beacon_drift_confirmed) == 0"),
    ("failures_total[1h])) > 0", "failures_total[1h])) >= 0"),
    ("extreme_share", "out_of_range_share"),
    ("imputed_share", "out_of_range_share"),
    ("input_out_of_range_share", "out_of_range_share"),
    ("/ 2 < (1 +", "/ 1 < (1 +"),
    (") or vector(0)\n) == 0", ")\n) == 0"),
    ("scalar(min(beacon_model_expected_error))", "1"),
    ('outcome="inconclusive"', 'outcome="fail"'),
    ('outcome="rolled_back"', 'outcome="promoted"'),
    ('outcome="rolled_back"}[1h])) > 0', 'outcome="rolled_back"}[1h])) >= 0'),
    ('_total{outcome="refused"}[1h]', '_total{outcome="kept"}[1h]'),
    ('> 86400 * scalar(max(beacon_threshold{name="model', '> 3600 * scalar(max(beacon_threshold{name="model'),
    ("> 3600 * ", "> 60 * "),
    ("> 3 * max by (job)", "> 2 * max by (job)"),
)

WHEREVER = {'status=~"5.."', "http_slow_requests_total", 'endpoint=~".*(predict|predict/batch|infer)|/invocations"'}
"""Edits of every rule that holds it."""


def _edited(rules: list[Rule]) -> Iterator[tuple[str, list[Rule]]]:
    for old, new in EDITS:
        held = [place for place, rule in enumerate(rules) if old in rule["expr"]]
        assert held, old
        changed = copy.deepcopy(rules)
        for place in held if old in WHEREVER else held[:1]:
            changed[place]["expr"] = changed[place]["expr"].replace(old, new)
        yield f"{old} -> {new}", changed
    for place, rule in enumerate(rules):
        if "alert" not in rule:
            continue
        lines = rule["expr"].splitlines()
        for number, line in enumerate(lines):
            if line.startswith(("and ", "or ")):
                changed = copy.deepcopy(rules)
                changed[place]["expr"] = "\n".join(lines[:number] + lines[number + 1 :])
                yield f"{rule['alert']} {rule['labels']}: without {line}", changed
        if "for" in rule:
            changed = copy.deepcopy(rules)
            del changed[place]["for"]
            yield f"{rule['alert']} {rule['labels']}: without for", changed


def test_edits_of_the_rules_are_caught(tmp_path: Path) -> None:
    rules = rules_of()
    edits = list(_edited(rules))
    assert len(edits) > 80
    variants = {
        number: {place: new for place, (old, new) in enumerate(zip(rules, changed, strict=True)) if old != new}
        for number, (_, changed) in enumerate(edits)
    }
    outcome = try_out(tmp_path, rules, variants)
    assert outcome.invalid == frozenset()
    assert "\n".join(what for number, (what, _) in enumerate(edits) if number not in outcome.noticed) == ""


def test_a_dropped_zero_for_series_that_do_not_exist_yet_is_caught(tmp_path: Path) -> None:
    rules = rules_of()
    held = [place for place, rule in enumerate(rules) if rule["expr"].endswith(" or vector(0)")]
    assert len(held) == 8
    dropped = {
        place: {place: rules[place] | {"expr": rules[place]["expr"].removesuffix(" or vector(0)")}} for place in held
    }
    assert try_out(tmp_path, rules, dropped).noticed == set(held)
