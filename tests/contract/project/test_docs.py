"""Documents that must not fall behind the code."""

import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from support.checkout import MAY_LACK, tracked
from support.settings import Settings

from beacon_core.domain.error_codes import CODES
from beacon_core.observability import metrics
from beacon_core.platform.settings import PREFIX, ROOT
from tools import (
    api_page,
    cli_page,
    database_roles,
    errors_page,
    kafka_messages,
    metrics_page,
    product_reference,
    settings_page,
)
from tools.generated import Part
from tools.module_maps import current, modules, services

DOCS = ROOT / "docs"
DECISION = re.compile(r"(\d{4})-[a-z0-9-]+\.md")
PARTS = {"tutorials", "how-to", "reference", "explanation"}
OTHERS = {"decisions", "runbooks", "figures", "images", "notebooks", "recordings"}


def links(document: Path) -> list[str]:
    return re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))


def test_every_setting_is_documented_and_nothing_else() -> None:
    text = settings_page.PAGE.read_text(encoding="utf-8")
    documented = set(re.findall(rf"^\| `({PREFIX}\w+)`", text, flags=re.MULTILINE))
    assert documented == {f"{PREFIX}{field.name.upper()}" for field in msgspec.structs.fields(Settings)}
    assert text == settings_page.current(text), "run `python -m tools.settings_page`"


def test_the_messages_of_the_log_are_documented_field_by_field() -> None:
    text = kafka_messages.PAGE.read_text(encoding="utf-8")
    assert text == kafka_messages.current(text), "run `python -m tools.kafka_messages`"


def test_the_roles_of_the_database_are_documented_and_made_as_they_are_granted() -> None:
    text, again = database_roles.PAGE.read_text(encoding="utf-8"), "run `python -m tools.database_roles`"
    assert text == database_roles.current(text), again
    assert database_roles.SCRIPT.read_text(encoding="utf-8") == database_roles.script(), again


def test_a_setting_without_a_docstring_is_refused_by_name() -> None:
    assert settings_page.meanings('class Settings:\n    port: int = 1\n    """Port."""\n') == {"port": "Port."}
    for rest in ("", '    host: str = "x"\n    """Host."""\n'):
        with pytest.raises(ValueError, match="the setting port has no docstring"):
            settings_page.meanings(f"class Settings:\n    port: int = 1\n{rest}")


def test_the_command_line_is_documented_as_its_parsers_are() -> None:
    for file, content in cli_page.written().items():
        assert file.read_text(encoding="utf-8") == content, "run `python -m tools.cli_page`"


def test_each_field_of_a_result_is_documented() -> None:
    page = cli_page.PAGE.read_text(encoding="utf-8")
    keys = [line for line in page.splitlines() if line.startswith("| `") and line.count(" | ") == 2]
    assert len(keys) > 50
    assert [line for line in keys if line.endswith("|  |")] == []


def test_product_and_policy_are_documented_key_by_key() -> None:
    for name, content in product_reference.pages().items():
        assert (product_reference.FOLDER / name).read_text(encoding="utf-8") == content, (
            "run `python -m tools.product_reference`"
        )


@pytest.mark.parametrize("tool", [errors_page, metrics_page, api_page], ids=lambda tool: str(tool.__name__))
def test_errors_metrics_and_routes_are_documented_as_the_code_has_them(tool: ModuleType) -> None:
    text = tool.PAGE.read_text(encoding="utf-8")
    assert text == (tool.current(text) if tool is api_page else tool.current()), f"run `python -m {tool.__name__}`"


def test_each_code_says_what_to_do_and_each_metric_who_exports_it() -> None:
    assert [code for code, each in CODES.items() if not (each.meaning and each.remedy.endswith("."))] == []
    assert set(metrics_page.exporters()) == {metric.name for metric in metrics.ALL}


def test_a_part_that_a_page_has_no_place_for_is_named() -> None:
    part = Part("figures", "some_page")
    assert part.put(f"a\n{part.begin}\nold\n<!-- end of figures -->\nb\n", "new\n") == (
        f"a\n{part.begin}\nnew\n<!-- end of figures -->\nb\n"
    )
    with pytest.raises(ValueError, match=r"there is no part that begins with <!-- figures: written by"):
        part.put("a\n", "new\n")


def test_a_key_without_a_docstring_is_refused_by_name() -> None:
    documented = 'class Part:\n    """A part."""\n    width: float = 1.0\n    """Its width."""\n'
    assert product_reference.meanings_in(documented) == {"width": "Its width."}
    with pytest.raises(ValueError, match=r"Part\.depth has no docstring"):
        product_reference.meanings_in(f"{documented}    depth: float = 1.0\n")


def test_decisions_are_numbered_without_gaps_and_say_their_status() -> None:
    files = sorted(file for file in (DOCS / "decisions").glob("*.md") if file.name != "README.md")
    numbers = [int(match[1]) for file in files if (match := DECISION.fullmatch(file.name))]
    assert numbers
    assert numbers == list(range(1, len(files) + 1))
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    for number, file in zip(numbers, files, strict=True):
        text = file.read_text(encoding="utf-8")
        title = re.match(rf"# {number}\. (.*)\n", text)
        assert title, file.name
        status = re.search(r"^Status: (accepted|superseded by \d+)$", text, flags=re.MULTILINE)
        assert status, file.name
        assert f"| {number} | [{title[1]}]({file.name}) | {status[1]} |\n" in index
    assert index.count("](0") == len(files)


def test_the_documents_have_four_parts_and_an_index_that_names_every_page() -> None:
    assert {path.name for path in DOCS.iterdir()} == PARTS | OTHERS | {"README.md"}
    pages = {file for part in PARTS for file in (DOCS / part).glob("*.md")}
    listed = {(DOCS / target).resolve() for target in links(DOCS / "README.md")}
    assert sorted(str(page) for page in pages - listed) == []


def test_every_relative_link_leads_somewhere() -> None:
    found = [(document, target) for document in tracked("*.md") for target in links(document)]
    assert found
    for document, target in found:
        if not target.startswith("$"):
            assert (document.parent / Path(target)).exists(), f"{document.relative_to(ROOT)}: {target}"


def test_every_document_that_a_file_names_exists() -> None:
    """A comment, a message or a chart's value that names docs/.../X.md names a file."""
    named = re.compile(r"(?<![\w/.-])docs/[\w/-]+\.md")
    files = [file for file in tracked() if file.suffix in {".py", ".md", ".yaml", ".json", ".toml"} or not file.suffix]
    found = {(file, name) for file in files for name in named.findall(file.read_text(encoding="utf-8"))}
    assert found
    assert sorted(f"{file.relative_to(ROOT)}: {name}" for file, name in found if not (ROOT / name).is_file()) == []


def test_each_readme_of_a_service_lists_all_its_modules() -> None:
    for package, readme in services():
        assert all(text for _, text in modules(package)), package.name
        text = readme.read_text(encoding="utf-8")
        assert text == current(package, text), "run `python -m tools.module_maps`"


def test_every_module_that_a_document_names_exists() -> None:
    """`room/module.py` and `room/`, from the root, from the document or from a service."""
    documents = [file for file in tracked("*.md") if file.name != "CHANGELOG.md"]
    bases = [ROOT, ROOT / "tests", *ROOT.glob("services/*"), *ROOT.glob("services/*/beacon_*")]
    named = re.compile(r"`((?:[\w-]+/)+[\w-]+\.py)(?:::?\w+)?`")
    found = {(file, name) for file in documents for name in named.findall(file.read_text(encoding="utf-8"))}
    assert len(found) > 200
    missing = [
        (file, name) for file, name in found if not any((base / name).is_file() for base in [*bases, file.parent])
    ]
    assert sorted(f"{file.relative_to(ROOT)}: {name}" for file, name in missing if not name.endswith("/NAME.py")) == []


@pytest.mark.parametrize("name", ["one-request", "one-log-record", "one-model"])
def test_a_walk_through_the_code_names_its_files_in_order(name: str) -> None:
    """Numbered steps, of which each names a file of the code; that the files exist is held above."""
    text = (DOCS / "explanation" / f"{name}.md").read_text(encoding="utf-8")
    steps = re.findall(r"^(\d+)\. (.*)$", text, flags=re.MULTILINE)
    assert len(steps) >= 14
    assert [step for _, step in steps if not re.search(r"\]\(\.\./\.\./(?:services|jobs)/[\w./-]+\.py\)", step)] == []
    numbers = [int(number) for number, _ in steps]
    assert all(later in {before + 1, 1} for before, later in pairwise(numbers))
    assert len(text.splitlines()) <= 80, "one page"


def test_every_path_of_the_recipes_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`", text)
    commands = re.findall(r"pytest ([\w./-]+)", text)
    assert len(paths) > 30
    assert commands
    assert [path for path in {*paths, *commands} - MAY_LACK if not (ROOT / path).exists()] == []


def test_every_target_of_the_recipes_is_one() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^    )make ([a-z][a-z-]*)", text, flags=re.MULTILINE)
    assert len(set(named)) > 5
    assert [name for name in named if not re.search(rf"^{name}:", makefile, flags=re.MULTILINE)] == []


def test_the_threat_model_names_files_and_tests_that_are_there_and_every_finding_once() -> None:
    page = (DOCS / "explanation" / "threat-model.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|services|charts|\.github)/[\w/.-]+)(?:::(\w+))?`", page)
    assert len(named) > 40
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"
    assert re.findall(r"^\| (S\d+) \|", page, re.MULTILINE) == [f"S{number}" for number in range(1, 20)]
    assert [line for line in page.splitlines() if line.startswith("| S") and line.count(" | ") != 3] == []
