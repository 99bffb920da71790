"""Every command of README, tutorials and how-to guides is run by a test, or its page says that none can run it."""

import os
import re
import shlex
import subprocess
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest
from support.docs_commands import Command, commands, commands_in, pages

from beacon_core.platform.settings import ROOT

CHANGED = "tests/system/products/test_products.py"
LAPTOP, PRODUCTS = "tests/system/e2e_laptop/test_run.py", "tests/system/products/test_own_table_page.py"
PROMOTED, DEMO, SCORING = (
    "tests/system/promotion/test_promotion_laptop.py",
    "make test-demo",
    "tests/contract/inference/test_scoring.py",
)
FOREIGN, KEYS = "tests/system/retraining/test_foreign_register.py", "tests/contract/core/test_api_keys.py"
JWT = "tests/contract/core/test_jwt_access.py"
BACKUP = "tests/contract/retraining/test_backup.py"
WHEEL = "tests/system/clients/test_client_wheel.py"
SLIPS = "tests/reports/test_product_slips.py"
RUN_BY: dict[str, dict[str, str]] = {
    "README.md": {
        "make run": LAPTOP,
        "make run PRODUCT=*": PRODUCTS,
        "curl*": LAPTOP,
        "export PATH=*": LAPTOP,
        "beacon *": LAPTOP,
        "make data PRODUCT=*": SLIPS,
        "make": "tests/contract/project/test_suites.py",
        "make retrain": LAPTOP,
        "make promote": PROMOTED,
        "make demo": DEMO,
        "make lint": "make lint",
        "make test": "make test",
        "make bench": "benchmarks/harness",
        "make docs-serve": "tests/system/browser/test_docs_site.py",
        "make recording": "tests/unit/project/test_recording.py",
        ".ci/run": "tests/contract/project/test_suites.py",
    },
    "docs/tutorials/laptop.md": {"make *": LAPTOP, "curl*": LAPTOP, "export PATH=*": LAPTOP, "beacon *": LAPTOP},
    "docs/tutorials/your-own-table.md": {"make *": PRODUCTS, "curl*": PRODUCTS},
    "docs/tutorials/drift-to-promotion.md": {"make *": DEMO},
    "docs/how-to/api-keys.md": {
        "beacon keys*": "tests/unit/core/test_core_api_keys.py",
        "export BEACON_API_KEYS_FILE=*": KEYS,
        "export BEACON_CLOSED_SCOPES=*": KEYS,
        "export BEACON_JWT_*": JWT,
        "curl*": JWT,
    },
    "docs/how-to/backup.md": {"make backup*": BACKUP, "make restore*": BACKUP},
    "docs/how-to/batch-scoring.md": {"make score*": SCORING},
    "docs/how-to/bring-your-own-model.md": {
        "make register*": FOREIGN,
        "make promote*": PROMOTED,
        "make check*": "tests/system/retraining/test_entry_point_training.py",
        "make retrain*": "tests/system/retraining/test_entry_point_training.py",
    },
    "docs/how-to/change-the-model.md": {
        "make *": CHANGED,
        "make approve*": "tests/unit/retraining/test_retrain_approvals.py",
    },
    "docs/how-to/data-sources.md": {"make data*": SLIPS},
    "docs/how-to/deploy.md": {"make test-charts": "make test-charts"},
    "docs/how-to/erasure.md": {"make forget*": "tests/contract/core/test_erasure.py"},
    "docs/how-to/explain.md": {"curl*": "tests/contract/inference/test_explain.py"},
    "docs/how-to/gitops.md": {"make product-values*": "tests/system/charts/test_charts.py"},
    "docs/how-to/lake.md": {
        "make expire": "tests/system/lake/test_upkeep.py",
        "make bench-lake*": "benchmarks/lake.py",
    },
    "docs/how-to/logins.md": {
        "export BEACON_*": "tests/contract/console/test_console_login.py",
        "export BEACON_PROXY_NETWORKS=*": "tests/unit/console/test_console_proxy.py",
    },
    "docs/how-to/monitoring.md": {"make test-*": "make test-rules", "make mutate-rules": "make mutate-rules"},
    "docs/how-to/notebook.md": {
        "uv build*": WHEEL,
        "pip install*": WHEEL,
        "curl*": "tests/unit/console/test_console_api.py",
    },
    "docs/how-to/retention.md": {"make expire*": "tests/contract/core/test_retention.py"},
    "docs/how-to/troubleshoot.md": {"make doctor*": "tests/contract/laptop/test_doctor.py"},
    "docs/how-to/watch-drift.md": {"curl*": LAPTOP, "make drift": LAPTOP, "make demo": DEMO},
    "docs/how-to/signatures.md": {
        "beacon signing-keys*": "tests/unit/core/test_core_signing_keys.py",
        "beacon sign*": "tests/system/retraining/test_registry_edited.py",
    },
}
"""What runs the commands of a pattern: a test, a folder, or a target of make. The longest pattern counts."""
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
COMMANDS = [command for page in pages() for command in commands(page)]
RECIPE = re.compile(r"^(?P<names>[a-z][\w%-]*):[^\n]*\n(?P<body>(?:\t[^\n]*\n|\n(?=\t))*)", re.MULTILINE)


def runner(command: Command) -> str | None:
    """What runs the command, by the longest pattern."""
    of_page = RUN_BY.get(command.page, {})
    found = [pattern for pattern in of_page if fnmatchcase(command.text, pattern)]
    return of_page[max(found, key=len)] if found else None


@cache
def help_of(*program: str) -> str:
    """What a program says of its options."""
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        [*program, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    return done.stdout if done.returncode == 0 else ""


def recipe(target: str) -> str:
    """The line and the recipe of a target of make; empty where there is none."""
    names = {target, re.sub(r"^(image)-.*", r"\1-%", target)}
    parts = [match[0] for match in RECIPE.finditer(MAKEFILE) if match["names"] in names]
    return "".join(parts)


def missing(words: list[str]) -> list[str]:
    """What the command names and is not there: a target, a variable of make, an option of the program."""
    if words[0] == "beacon":
        names = [word for word in words[1:3] if not word.startswith("-")]
        texts = [help_of(".venv/bin/beacon", *names[:count]) for count in range(min(1, len(names)), len(names) + 1)]
        assert texts[0], f"beacon {' '.join(names[:1])} is no command"
        return [
            word for word in words if word.startswith("--") and not any(word.split("=")[0] in text for text in texts)
        ]
    given = [word for word in words[1:] if "=" in word and not word.startswith("-")]
    target = next((word for word in words[1:] if word not in given), "help")
    text = recipe(target)
    if not text:
        return [f"make {target}"]
    wrong = [word for word in given if f"{word.split('=')[0]}" not in re.findall(r"[A-Z_]+", MAKEFILE)]
    for word in given:
        name, _, value = word.partition("=")
        program = re.search(r"/bin/(python) (jobs/\w+\.py(?: [a-z]+)?|-m [\w.]+)|\$\((BEACON)\) ([a-z-]+)", text)
        if name == "ARGS" and program:
            said = help_of(
                ".venv/bin/python" if program[1] else ".venv/bin/beacon", *(program[2] or program[4]).split()
            )
            wrong += [flag for flag in re.findall(r"--[\w-]+", value) if flag not in said]
    return wrong


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_is_run_by_a_test_or_marked_in_its_page(page: Path) -> None:
    here = [command for command in COMMANDS if command.page == str(page.relative_to(ROOT))]
    assert [command.text for command in here if not command.needs and runner(command) is None] == []


def test_a_command_of_no_class_is_found() -> None:
    assert runner(Command("README.md", "make", "")) is not None
    assert runner(Command("README.md", "make nothing", "")) is None
    assert runner(Command("docs/how-to/scaling.md", "make", "")) is None


def test_each_class_is_used_and_its_test_is_there() -> None:
    used = {(command.page, runner(command)) for command in COMMANDS if not command.needs}
    named = {(page, test) for page, tests in RUN_BY.items() for test in tests.values()}
    assert sorted(map(str, named - used)) == []
    for _, test in named:
        assert recipe(test.removeprefix("make ")) if test.startswith("make ") else (ROOT / test).exists(), test


@pytest.mark.parametrize(
    "command",
    [each for each in COMMANDS if each.text.split()[0] in {"make", "beacon"}],
    ids=lambda each: str(each.text),
)
def test_its_target_variables_and_options_are_there(command: Command) -> None:
    assert missing(shlex.split(command.text)) == []


def test_what_is_not_there_is_found() -> None:
    assert missing(["make", "nothing"]) == ["make nothing"]
    assert missing(["make", "run", "PRODUCTS=x"]) == ["PRODUCTS=x"]
    assert missing(["make", "history", "ARGS=--most 3 --least 4"]) == ["--least"]
    assert missing(["beacon", "keys", "new", "x", "--scope-of", "y", "--scopes", "z"]) == ["--scope-of"]


def test_targets_and_commands_in_running_text_are_there() -> None:
    texts = [file.read_text(encoding="utf-8") for file in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]]
    targets = {name for text in texts for name in re.findall(r"`make ([a-z][a-z0-9-]*)", text)}
    programs = {name for text in texts for name in re.findall(r"`(?:uv run )?beacon ([a-z][a-z-]*)", text)}
    assert len(targets) > 30
    assert sorted(name for name in targets if not recipe(name)) == []
    assert programs
    said = help_of(".venv/bin/beacon")
    assert sorted(name for name in programs if not re.search(rf"^\W*{name}\b", said, re.MULTILINE)) == []


def test_blocks_are_read_as_they_are_written() -> None:
    text = "x\n\n    make a   # it's so\n    curl b |\n      jq '# c'\n\n> Needs a cluster: no.\n\n    kubectl d\n"
    text += "\n``` json\n\n    {}\n```\n"
    assert commands_in(text, "p") == [
        Command("p", "make a", ""),
        Command("p", "curl b |\n  jq '# c'", ""),
        Command("p", "kubectl d", "Needs a cluster: no."),
    ]
    with pytest.raises(ValueError, match="p: terraform apply: an indented block is shell"):
        commands_in("x\n\n    terraform apply\n", "p")
