"""One meaning for each word: the glossary, and the public classes of the services."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from beacon_core.platform.settings import ROOT

GLOSSARY = ROOT / "docs" / "reference" / "glossary.md"
ROW = re.compile(r"^\| ([^|`]+) \| ([^|]+) \| `([\w.]+)` \|$", re.MULTILINE)

TWO_MEANINGS = {
    # One thing, seen from two services that may not import each other.
    "Registry": "of features (Feast) and of models (MLflow): both fields say registry",
    "Run": "a run of a job: each service has the part that it writes",
    "Laptop": "promotion's target, and the service that runs it",
    "Instruments": "each server's metrics, by one name",
}

NOT_THE_TERM = {
    "Drift": "the product spec's section of limits on drift",
    "Promotion": "the product spec's section of limits on promotion",
}


def public_classes() -> dict[str, list[str]]:
    """Each public class of the services, with the modules that define one of that name."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder in sorted((ROOT / "services").glob("*/beacon_*")):
        for file in sorted(folder.rglob("*.py")):
            module = ".".join(file.relative_to(folder.parent).with_suffix("").parts)
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(module)
    return found


def entries() -> list[tuple[str, str, str]]:
    text = GLOSSARY.read_text(encoding="utf-8").partition("## Words to avoid")[0]
    rows = [(match[1], match[2], match[3]) for match in ROW.finditer(text)]
    assert len(rows) == text.count("\n| ") - 2, "a row is not `| term | meaning | code |`"
    return rows


def module_file(name: str) -> Path | None:
    package = name.partition(".")[0]
    base = ROOT / "services" / package.removeprefix("beacon_").replace("_", "-") / name.replace(".", "/")
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def defines(name: str, classes: dict[str, list[str]]) -> bool:
    """Whether `name` is a module, or a class in one."""
    module, _, last = name.rpartition(".")
    return module in classes[last] if last in classes else module_file(name) is not None


def test_every_term_has_one_meaning_of_one_sentence() -> None:
    terms = [term for term, _, _ in entries()]
    assert len(terms) > 50
    assert terms == sorted(set(terms))
    for term, meaning, _ in entries():
        assert re.fullmatch(r"[A-Z](?:[^.]|\.(?=\w))*\.", meaning), f"{term}: not one sentence"


def test_the_code_that_a_term_names_exists() -> None:
    classes = public_classes()
    assert [f"{term}: {code}" for term, _, code in entries() if not defines(code, classes)] == []


@pytest.mark.parametrize("code", ["beacon_core.domain.nothing", "beacon_core.domain.product.Nothing"])
def test_code_that_is_not_there_is_found(code: str) -> None:
    assert not defines(code, public_classes())


def test_no_class_name_means_two_things() -> None:
    several = {name: modules for name, modules in public_classes().items() if len(modules) > 1}
    new = {name: modules for name, modules in several.items() if name not in TWO_MEANINGS}
    assert new == {}, "find another name, or say in TWO_MEANINGS why both keep it"
    assert sorted(TWO_MEANINGS.keys() - several.keys()) == [], "renamed: take it off TWO_MEANINGS"


def test_a_class_named_as_a_term_is_what_the_glossary_says() -> None:
    classes = public_classes()
    strangers = {}
    for term, _, code in entries():
        name = term.title().replace(" ", "").replace("-", "")
        if name not in TWO_MEANINGS and any(not code.startswith(module) for module in classes.get(name, ())):
            strangers[name] = f"{term}: {', '.join(classes[name])}"
    assert {name: text for name, text in strangers.items() if name not in NOT_THE_TERM} == {}
    assert sorted(NOT_THE_TERM.keys() - strangers.keys()) == [], "renamed: take it off NOT_THE_TERM"
