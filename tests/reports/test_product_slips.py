"""YAML slips in a product spec: what people write means what they meant, or one line names file, key and rule.

Reported again and again of YAML 1.1 (`NO` is Norway, `010` is 8, `1e3` is text, equal keys) and of files from Windows.
"""

import json
import runpy
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.log_setup import kept_log_setup
from support.products import POLICY, SPEC, copy_policy

from beacon_core.domain.product import Product
from beacon_core.domain.spec import ProductError
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

REAL = SPEC
LINES = REAL.read_text(encoding="utf-8").splitlines()
POLICY_LINES = POLICY.read_text(encoding="utf-8").splitlines()
IN_POLICY = {"min_predictions", "phase_seconds", "min_p99_rise_seconds"}


def value_of(key: str, lines: list[str]) -> tuple[int, str]:
    """The line of a key that stands alone on it, and the key with its indent."""
    number = next(number for number, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
    return number, lines[number].partition(key)[0] + key


def at_fault(file: Path, key: str) -> Path:
    """The file of the two that has the key."""
    return file.with_name(POLICY.name) if key in IN_POLICY else file


def written(file: Path, key: str, value: str) -> Path:
    """The real product.yaml and policy.yaml with another value of the key, as it is typed."""
    file.write_text("\n".join([*LINES, ""]), encoding="utf-8")
    lines = [*(POLICY_LINES if key in IN_POLICY else LINES)]
    number, head = value_of(key, lines)
    lines[number] = f"{head}: {value}"
    at_fault(file, key).write_text("\n".join([*lines, ""]), encoding="utf-8")
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    copy_policy(tmp_path)
    return tmp_path / "product.yaml"


MEANT = [
    ("min_predictions", "2e2", lambda product: product.policy.monitoring.min_predictions, 200),
    ("phase_seconds", "6e1", lambda product: product.policy.rollout.phase_seconds, 60.0),
    ("min_p99_rise_seconds", "2e-3", lambda product: product.policy.rollout.min_p99_rise_seconds, 0.002),
    ("title", "NO", lambda product: product.title, "NO"),
    ("title", "2024-01-31", lambda product: product.title, "2024-01-31"),
    ("title", "12:30", lambda product: product.title, "12:30"),
    ("schema_version", "&one 1", lambda product: product.schema_version, 1),
]


@pytest.mark.parametrize(("key", "text", "read", "meant"), MEANT, ids=[f"{case[0]}: {case[1]}" for case in MEANT])
def test_what_is_plainly_meant_is_what_is_read(key, text, read, meant, file: Path) -> None:
    assert read(load_product(written(file, key, text))) == meant


def test_names_that_yaml_takes_for_booleans_numbers_or_dates_are_names(product: Product, file: Path) -> None:
    """Of a data set's columns nobody chose the names for YAML."""
    for name in ("NO", "y", "off", "null", "1", "2024-01-31"):
        text = REAL.read_text(encoding="utf-8")
        first = product.feature_names[0]
        number = next(number for number, line in enumerate(LINES) if line.strip().startswith(f"{first}:"))
        lines = [*LINES]
        lines[number] = lines[number].replace(f"{first}:", f"{name}:", 1)
        file.write_text("\n".join(lines), encoding="utf-8")
        assert text != file.read_text(encoding="utf-8")
        assert load_product(file).feature_names[0] == name


def test_an_anchor_and_a_merge_are_taken(product: Product, file: Path) -> None:
    one, other = (next(n for n, line in enumerate(LINES) if f" {name}:" in line) for name in product.feature_names[:2])
    lines = [*LINES]
    lines[one] = lines[one].replace("{", "&first {", 1)
    lines[other] = f"  {product.feature_names[1]}: {{<<: *first, title: another}}"
    file.write_text("\n".join(lines), encoding="utf-8")
    first, second = load_product(file).features[:2]
    assert (second.title, second.valid, second.example) == ("another", first.valid, first.example)


SLIPS = [
    (
        "a number with _",
        "min_predictions",
        "1_000",
        "monitoring.min_predictions",
        "a whole number, is the text '1_000'",
    ),
    ("an octal number", "min_predictions", "0200", "monitoring.min_predictions", "must not begin with 0"),
    ("hexadecimal", "min_predictions", "0x1F", "monitoring.min_predictions", "is the text '0x1F'"),
    ("a comma for a point", "phase_seconds", "0,5", "rollout.phase_seconds", "must be a number, is the text '0,5'"),
    ("a unit", "phase_seconds", "60s", "rollout.phase_seconds", "must be a number, is the text '60s'"),
    ("a clock", "phase_seconds", "1:30", "rollout.phase_seconds", "must be a number, is the text '1:30'"),
    ("a date", "schema_version", "2024-01-31", "schema_version", "a whole number, is the text '2024-01-31'"),
    ("yes", "schema_version", "yes", "schema_version", "must be a whole number, is the text 'yes'"),
    ("true", "schema_version", "true", "schema_version", "must be a whole number, is true"),
    ("infinity", "phase_seconds", ".inf", "rollout.phase_seconds", "must be finite"),
    ("no number", "phase_seconds", ".nan", "rollout.phase_seconds", "must be finite"),
    ("no value", "features_ttl_days", "", "features_ttl_days", "must be a whole number, is empty"),
    ("400 digits", "features_ttl_days", "9" * 400, "features_ttl_days", "is too large a number"),
    ("a list", "title", "[a, b]", "title", "must be text (in quotes), is a list"),
    ("a number for a text", "title", "1984", "title", "must be text (in quotes), is 1984"),
    ("a tag", "title", "!!python/name:os.system x", "title", "tags are not supported"),
    ("an unknown alias", "title", "*base", "title", "undefined alias"),
    ("a tab", "title", "x\n\tmore: 1", "title", "column 1: a tab, where YAML allows only spaces"),
    ("a key twice", "title", "x\ntitle: y", "title", "is given twice, in lines "),
    ("a colon", "title", "homes: and prices", "title", "is not YAML in UTF-8"),
    ("a page for a data set", "kaggle", "https://www.kaggle.com/datasets/a/b", "source.kaggle", "must be OWNER/NAME"),
    ("a data set without its owner", "kaggle", "boston", "source.kaggle", "must be OWNER/NAME"),
    ("a way out of the archive", "file", "../items.csv", "source.file", "must be a file's name, without a folder"),
    ("a folder for the file", "file", "..", "source.file", "must be a file's name, without a folder"),
    ("no file", "file", '""', "source.file", "must be a file's name, without a folder"),
]


@pytest.mark.parametrize(
    ("key", "text", "named", "rule"), [slip[1:] for slip in SLIPS], ids=[slip[0] for slip in SLIPS]
)
def test_a_slip_is_one_line_that_names_file_key_and_rule(key, text, named, rule, file: Path) -> None:
    with pytest.raises(ProductError) as caught:
        load_product(written(file, key, text))
    said = str(caught.value)
    assert said.startswith(f"{at_fault(file, key)}: {named}: ")
    assert rule in said
    assert len(said.splitlines()) == 1


FILES = {
    "empty": (b"", "(top): must be a mapping, is empty"),
    "comments alone": (b"# nothing yet\n", "(top): must be a mapping, is empty"),
    "two documents": (b"name: a\n---\nname: b\n", "another document"),
    "UTF-16": (REAL.read_bytes().decode().encode("utf-16"), "(file): is not YAML in UTF-8: line 1 holds the byte 0xff"),
    "Latin-1": ("title: Zürich\n".encode("latin-1"), "(file): is not YAML in UTF-8: line 1 holds the byte 0xfc"),
    "a NUL": (b"name: a\ntitle: \0\n", "(file): is not YAML in UTF-8: line 2 holds the character U+0000"),
    "too deep": (b"name: " + b"[" * 2_000, "nested too deeply"),
    "aliases of aliases": (
        b"a: &a [x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 8)) for c in range(98, 108)),
        "aliases of aliases",
    ),
    "an alias of itself": (b"name: &a [*a]\n", "name[0]: is an alias of a value that contains it"),
    "a list": (b"- name: a\n", "(top): must be a mapping, is a list"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_product_is_one_line(name: str, file: Path) -> None:
    content, rule = FILES[name]
    file.write_bytes(content)
    with pytest.raises(ProductError) as caught:
        load_product(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: ")
    assert rule in said
    assert len(said.splitlines()) == 1


def test_a_byte_order_mark_and_line_ends_of_windows_are_taken(product: Product, file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + REAL.read_bytes().replace(b"\n", b"\r\n"))
    assert load_product(file).features == product.features


COMMANDS = {
    "make run": ("beacon_laptop",),
    "make retrain": ("beacon_laptop.retrain",),
    "make demo": ("beacon_laptop.demo",),
    "inference": ("beacon_inference",),
    "prober": ("beacon_prober.prober", "a=http://127.0.0.1:1"),
    "feature serving": ("beacon_feature_serving",),
    "console": ("beacon_console",),
    "jobs/retrain.py": ("jobs/retrain.py", "--here"),
    "jobs/data.py": ("jobs/data.py", "check"),
    "jobs/drift.py": ("jobs/drift.py",),
    "jobs/promote.py run": ("jobs/promote.py", "run"),
    "jobs/promote.py history": ("jobs/promote.py", "history"),
    "jobs/approve.py": ("jobs/approve.py", "approve", "1", "--reason", "good", "--person", "me"),
    "jobs/cadence.py": ("jobs/cadence.py",),
    "jobs/champion.py": ("jobs/champion.py",),
    "jobs/lineage.py": ("jobs/lineage.py", "p1"),
    "jobs/materialize.py": ("jobs/materialize.py",),
    "jobs/skew.py": ("jobs/skew.py",),
}


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    """A command sets up the logs of its process, which is ours here."""
    with kept_log_setup():
        yield


def run(program: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that another test has imported the module
        if program.endswith(".py"):
            runpy.run_path(str(ROOT / program), run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)


@pytest.mark.usefixtures("_as_it_was")
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_it_in_one_line(
    name: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = COMMANDS[name]
    monkeypatch.setenv("BEACON_PRODUCT", str(written(file, "min_predictions", "NO")))
    monkeypatch.setenv("BEACON_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as ended:
        run(program)
    assert ended.value.code in {1, 2}
    out, err = capfd.readouterr()
    lines = [line for line in (out + err).splitlines() if '"job ended"' not in line]
    assert len(lines) == 1, out + err
    said = json.loads(lines[0])["message"] if lines[0].startswith("{") else lines[0]
    assert (
        f"{file.with_name('policy.yaml')}: monitoring.min_predictions: must be a whole number, is the text 'NO'" in said
    )
    assert not (tmp_path / "home" / "mlflow.log").exists()


def test_five_thousand_features_are_refused_within_two_seconds(file: Path) -> None:
    """PyYAML's own parser alone took longer."""
    text = REAL.read_text(encoding="utf-8")
    features = "".join(f"  f{number}: {{type: float, valid: [0, 1], example: 0.5}}\n" for number in range(5000))
    file.write_text(text.replace("\nfeatures:\n", f"\nfeatures:\n{features}"), encoding="utf-8")
    began = time.process_time()
    with pytest.raises(ProductError, match=r"features: must be at most 2000"):
        load_product(file)
    assert time.process_time() - began < 1.2


@pytest.mark.parametrize("text", ["[" * 2_000_000, "a: " + "{a: " * 200_000, "- " * 500_000])
def test_nothing_that_nests_deeply_crashes_the_reader(text: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ProductError, match="is nested too deeply"):
        load_product(file)
