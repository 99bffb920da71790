"""The table of processes and the supervisor's configuration made from it."""

import configparser
import json
import shlex
import sys
from pathlib import Path

import pytest

from beacon_cli.rows import row_of
from beacon_core.platform.settings import ROOT, load_settings
from beacon_laptop.example import beacon_command, curl_command, example_requests
from beacon_laptop.ports import PORTS
from beacon_laptop.processes import Process, services, training, variables
from beacon_laptop.reporter import log_end
from beacon_laptop.supervision import configuration

STAND_IN = Process("web", "laptop", ("-c", "print('a b')"))


def parsed(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(text)
    return parser


def test_every_port_setting_is_checked_and_no_other():
    names = {name for name in type(load_settings({})).__struct_fields__ if name.endswith("_port")}
    assert names - set(PORTS) == {"kafka_to_lake_metrics_port"}, "a laptop has no such consumer"
    assert set(PORTS) <= names


def test_services_are_asked_where_the_settings_put_them():
    settings = load_settings({"BEACON_INFERENCE_PORT": "18080", "BEACON_FEATURES_PORT": "16566"})
    health = {process.name: process.health for process in services(settings)}
    assert health == {
        "mlflow": "http://127.0.0.1:5000/health",
        "feature-serving": "http://127.0.0.1:16566/health",
        "inference": "http://127.0.0.1:18080/readyz",
        "prediction-log": "http://127.0.0.1:9094/readyz",
        "console": "http://127.0.0.1:8090/readyz",
        "schedule": "",
        "promoter": "",
    }


@pytest.mark.parametrize(
    "process", [*services(load_settings({})), training(load_settings({}))], ids=lambda process: process.name
)
def test_each_process_has_an_environment_of_its_own(process):
    python, *_ = process.command
    assert Path(python) == ROOT / ".venvs" / process.environment / "bin" / "python"


def test_where_an_environment_is_not_made_this_one_does(monkeypatch, tmp_path):
    monkeypatch.setattr("beacon_laptop.processes.ENVIRONMENTS", tmp_path)
    assert STAND_IN.command[0] == sys.executable


def test_processes_share_the_state_and_skip_the_proxy():
    settings = load_settings({"BEACON_HOME": "/state"})
    given = variables(settings, {"OMP_NUM_THREADS": "4", "NO_PROXY": "example.org", "PATH": "/bin"})
    assert given["BEACON_HOME"] == "/state"
    assert given["OMP_NUM_THREADS"] == "4", "what the user chose stays"
    assert given["OPENBLAS_NUM_THREADS"] == "1"
    assert given["NO_PROXY"].split(",")[:2] == ["example.org", "127.0.0.1"]
    assert given["no_proxy"] == given["NO_PROXY"]


def test_a_process_dies_with_its_parent_is_restarted_and_logged():
    config = configuration([STAND_IN], Path("/s.sock"))
    section = parsed(config.text)["program:web"]
    given = {f"ENV_{name}": value for name, value in config.variables.items()}
    command = shlex.split(section["command"] % given)
    assert command[2].endswith("die_with_parent.py")
    assert command[3:] == STAND_IN.command
    assert section["directory"] % given == str(ROOT)
    assert section["autorestart"] == "true"
    assert section["killasgroup"] == "true"
    assert section["stdout_logfile"] == "../logs/web.log"
    assert section["stdout_logfile_maxbytes"] == "10MB"


def test_curl_lines_hold_a_complete_row_and_its_number(product):
    url = "http://127.0.0.1:8080/v1/predict"
    by_entity, by_features = (shlex.split(curl_command(url, body)) for body in example_requests(product))
    assert by_entity[2] == url
    assert json.loads(by_entity[-1]) == {"entity": {"tract_id": 1}}
    features = json.loads(by_features[-1])["features"]
    assert tuple(features) == product.feature_names
    assert features["RM"] == 6.575


def test_without_curl_the_same_row_is_for_beacon_predict(product):
    url = "http://127.0.0.1:8080"
    by_entity, by_features = example_requests(product)
    assert beacon_command("bin/beacon", url, by_entity) == "bin/beacon predict --entity tract_id=1"
    words = shlex.split(beacon_command("bin/beacon", "http://h:1", by_features))
    assert words[-2:] == ["--url", "http://h:1"]
    assert row_of(words[2:-2], [], set) == by_features


@pytest.mark.parametrize(
    "value", ["fine", "a b", "it's", "", "17", '"x"', "null", "True", "True ", "NaN", "é=", True, None, -1.5]
)
def test_any_value_comes_back_from_the_command_line(value):
    body = {"entity": {"a key": value}, "features": {"x": value}}
    words = shlex.split(beacon_command("beacon", "http://127.0.0.1:8080", body))
    assert words[:3] == ["beacon", "predict", "--entity"]
    assert row_of([words[4]], [words[3]], lambda: {"x", "a key"} if isinstance(value, str) else set()) == body


def test_the_end_of_a_log_is_short_and_names_the_file(tmp_path):
    log = tmp_path / "web.log"
    log.write_text("\n".join(f"line {number}" for number in range(1000)), encoding="utf-8")
    assert log_end(log).splitlines() == [f"  log: {log}", *(f"  | line {number}" for number in range(995, 1000))]
    assert log_end(tmp_path / "none.log") == f"  log: {tmp_path / 'none.log'}"
