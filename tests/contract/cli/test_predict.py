"""The commands `beacon predict` and `beacon explain` against a real server: what they print, and how they end."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.docs_commands import commands
from support.inference import Inference
from support.packages import release_package
from support.ports import free_ports
from support.products import MIXED

from beacon_cli.rows import text_names
from beacon_core.domain.exit_statuses import BAD_DATA, REFUSED, TRY_AGAIN
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.xdist_group("clients")

Row = dict[str, float]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("predict")
    release_package(folder / "home", product, explained=True)
    with Inference(folder / "home", folder) as server:
        yield f"http://{server.host}"


def called(*arguments: str, given: str = "", name: str = "predict") -> "subprocess.CompletedProcess[str]":
    beacon = Path(sys.executable).with_name("beacon")
    command = [str(beacon), name, *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


def answer_of(done: "subprocess.CompletedProcess[str]") -> Any:
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def expected(row: Row) -> Any:
    return pytest.approx(20 + 0.001 * sum(row.values()), abs=1e-3)


def test_pairs_are_the_features_of_a_row(url: str, row: Row) -> None:
    pairs = [f"{name}={value}" for name, value in row.items()]
    assert answer_of(called("--json", "--url", url, *pairs))["prediction"] == expected(row)


def test_the_row_of_the_tutorial_is_answered(url: str) -> None:
    texts = [command.text for command in commands(ROOT / "docs" / "tutorials" / "laptop.md")]
    (line,) = [text for text in texts if text.startswith("beacon predict ")]
    done = called("--url", url, *shlex.split(line)[2:])
    assert (done.returncode, done.stderr) == (0, "")
    assert "version 1, " in done.stdout


@pytest.mark.parametrize("shape", ["plain", "of the API"])
def test_a_row_comes_from_standard_input_or_a_file(url: str, row: Row, shape: str, tmp_path: Path) -> None:
    text = json.dumps(row if shape == "plain" else {"features": row})
    assert answer_of(called("--json", "--url", url, given=text))["prediction"] == expected(row)
    file = tmp_path / "row.json"
    file.write_text(text)
    assert answer_of(called("--json", "--url", url, "--file", str(file)))["prediction"] == expected(row)


def test_a_list_is_a_batch(url: str, row: Row) -> None:
    for rows in ([row, {"features": row}], {"rows": [{"features": row}] * 2}):
        answer = answer_of(called("--json", "--url", url, given=json.dumps(rows)))
        assert [each["prediction"] for each in answer["predictions"]] == [expected(row)] * 2


def test_an_entity_without_a_feature_store_is_to_be_tried_again(url: str, product: Product) -> None:
    done = called("--url", url, "--entity", f"{product.entity.key}=1")
    assert (done.returncode, done.stdout) == (TRY_AGAIN, "")
    assert done.stderr.startswith("beacon predict: feature_store_unavailable: ")


@pytest.mark.parametrize(
    ("arguments", "given", "status", "line"),
    [
        (("no pair",), "", BAD_DATA, "beacon predict: 'no pair' is not NAME=VALUE\n"),
        (
            ("--file", "/nowhere.json"),
            "",
            REFUSED,
            "beacon predict: /nowhere.json cannot be read: No such file or directory\n",
        ),
        ((), "not JSON", BAD_DATA, "beacon predict: standard input is not JSON: line 1, column 1: Expecting value\n"),
        ((), '{"a":\n 1,}', BAD_DATA, "beacon predict: standard input is not JSON: line 2, column 4: "),
        ((), "[" * 100_000, BAD_DATA, "beacon predict: standard input is not JSON: it is nested too deeply\n"),
        ((), "9" * 5_000, BAD_DATA, "beacon predict: standard input is not JSON: it has a number that is too long\n"),
        (("a=1", "b=2", "a=3"), "", BAD_DATA, "beacon predict: a has more than one value\n"),
        (("a=NaN",), "", BAD_DATA, "beacon predict: unknown_feature: "),
        (("nonsense=1",), "", BAD_DATA, "beacon predict: unknown_feature: "),
        ((), '{"features": {"nonsense": 1}}', BAD_DATA, "beacon predict: unknown_feature: "),
        ((), "[]", BAD_DATA, "beacon predict: invalid_body: "),
        ((), "7", BAD_DATA, "beacon predict: invalid_body: "),
    ],
)
def test_an_error_is_one_line(url: str, arguments: tuple[str, ...], given: str, status: int, line: str) -> None:
    done = called("--url", url, *arguments, given=given)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1), done.stderr
    assert done.stderr.startswith(line)


def test_a_file_may_begin_with_a_byte_order_mark(url: str, row: Row, tmp_path: Path) -> None:
    file = tmp_path / "row.json"
    file.write_text(json.dumps(row), encoding="utf-8-sig")
    assert answer_of(called("--json", "--url", url, "--file", str(file)))["prediction"] == expected(row)
    file.write_bytes(b'{"a": "\xff"}')
    done = called("--url", url, "--file", str(file))
    assert (done.returncode, done.stderr) == (
        BAD_DATA,
        f"beacon predict: {file} is not JSON: it is not text in UTF-8\n",
    )


def test_arguments_that_make_no_sense_are_refused_with_the_rule() -> None:
    done = called("a=1", "--file", "rows.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("not from both\n")
    done = called("--url", "nonsense", "a=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("--url is not an address such as http://HOST:PORT\n")


def test_a_wrong_address_is_told(url: str) -> None:
    (port,) = free_ports(1)
    done = called("--url", f"http://127.0.0.1:{port}", "a=1")
    assert (done.returncode, done.stderr.count("\n")) == (TRY_AGAIN, 1)
    assert "does not answer" in done.stderr
    done = called("--url", f"{url}/below", "a=1")
    assert (done.returncode, done.stderr.count("\n")) == (REFUSED, 1)
    assert done.stderr.startswith("beacon predict: not_found: ")


def test_a_person_reads_a_line_and_what_was_imputed(url: str, row: Row) -> None:
    name, *others = row
    done = called("--url", url, *[f"{one}={row[one]}" for one in others])
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{called_value(url, row, others):g} ")
    assert "version " in first
    assert second == f"  without a value: {name}"


def called_value(url: str, row: Row, names: list[str]) -> float:
    answer = answer_of(called("--json", "--url", url, *[f"{one}={row[one]}" for one in names]))
    value: float = answer["prediction"]
    return value


def test_an_explanation_adds_up_and_a_person_reads_the_largest_part_first(url: str, row: Row) -> None:
    pairs = [f"{name}={value}" for name, value in row.items()]
    (one,) = answer_of(called("--json", "--url", url, *pairs, name="explain"))["explanations"]
    parts = {part["feature"]: part["contribution"] for part in one["contributions"]}
    assert one["base"] + sum(parts.values()) == pytest.approx(one["prediction"], abs=2e-5)
    told = called("--url", url, *pairs, name="explain").stdout.splitlines()
    assert told[1].split()[1] == max(parts, key=lambda name: abs(parts[name]))
    assert len(told) == 1 + len(parts)


def test_a_logged_prediction_is_explained_by_its_id(url: str, row: Row) -> None:
    answer = answer_of(called("--json", "--url", url, given=json.dumps(row)))
    number = answer["prediction_id"]
    (one,) = answer_of(called("--json", "--url", url, "--id", number, name="explain"))["explanations"]
    assert (one["prediction_id"], one["prediction"]) == (number, answer["prediction"])
    done = called("--url", url, "--id", number, "a=1", name="explain")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_what_is_text_is_asked_of_the_server_of_any_product(tmp_path: Path) -> None:
    mixed = load_product(MIXED)
    release_package(tmp_path / "home", mixed)
    texts = {feature.name for feature in mixed.features if feature.is_text}
    keys = mixed.entity.columns if mixed.entity else ()
    with Inference(tmp_path / "home", tmp_path, BEACON_PRODUCT=str(MIXED)) as server:
        found = text_names(f"http://{server.host}")
    assert texts
    assert found == texts | {name for name, kind in keys if kind == "text"}
