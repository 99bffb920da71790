"""What `make run` says: before it begins, when it is ready, and when it cannot."""

import json
import sys
from pathlib import Path

import pytest
from support.products import MIXED, SPEC
from support.settings import Settings

from beacon_core.platform.settings import ROOT, load_settings
from beacon_laptop import run
from beacon_laptop.announcement import TRY_NEXT, announce
from beacon_laptop.example import curl_command
from beacon_laptop.processes import BEACON
from beacon_laptop.run import UsageError, check_disk

BODIES = [{"entity": {"order_id": "A1"}}, {"features": {"area": 120.5}}]


def test_a_full_disk_is_told_with_what_to_do(tmp_path, monkeypatch):
    check_disk(tmp_path)
    monkeypatch.setattr(run, "LEAST_FREE_BYTES", 1 << 60)
    with pytest.raises(UsageError, match=r"^\d+ MB are free where .* lies, and \d+ MB are needed: free some, or set"):
        check_disk(tmp_path)


def test_the_last_lines_are_addresses_two_commands_and_what_to_try(tmp_path, capsys, monkeypatch):
    (tmp_path / "curl").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    announce(Settings(home=tmp_path, product=MIXED), BODIES, 3.21, has_features=True, mlflow_is_ready=False)
    told = capsys.readouterr().out
    assert "\x1b" not in told
    lines = told.splitlines()
    assert lines[1] == "beacon is ready after 3.2 s. Ctrl-C stops everything."
    assert f"  logs             {tmp_path / 'logs'}   (JSON, a file per process)" in lines
    assert "  MLflow           http://127.0.0.1:5000   (needs some seconds more)" in lines
    assert [line for line in lines if line.startswith("curl ")] == [
        curl_command("http://127.0.0.1:8080/v1/predict", body) for body in BODIES
    ]
    shown = MIXED.parent.relative_to(ROOT)
    assert all(f"  make {name} PRODUCT={shown}" in told for name, _ in TRY_NEXT), "the product of this run"


def test_a_machine_without_curl_gets_commands_that_it_has(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = Settings(home=tmp_path, product=MIXED, inference_port=8081)
    announce(settings, BODIES, 3.21, has_features=True, mlflow_is_ready=True)
    told = capsys.readouterr().out
    assert "curl " not in told
    beacon = str(BEACON.relative_to(Path.cwd()) if BEACON.is_relative_to(Path.cwd()) else BEACON)
    assert f"\n{beacon} predict --entity order_id=A1 --url http://127.0.0.1:8081\n" in told
    assert f"\n{beacon} predict area=120.5 --url http://127.0.0.1:8081\n" in told


def test_the_usual_product_is_not_named(tmp_path, capsys):
    usual = load_settings({"BEACON_HOME": str(tmp_path)})
    announce(usual, BODIES[1:], 3.21, has_features=False, mlflow_is_ready=True)
    told = capsys.readouterr().out
    assert "PRODUCT=" not in told
    assert "needs some seconds more" not in told
    assert "  features         none: no entity" in told
    assert usual.product != SPEC


def test_with_json_it_is_one_object(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["beacon run", "--json"])
    announce(Settings(home=tmp_path), BODIES, 3.21, has_features=True, mlflow_is_ready=True)
    told = json.loads(capsys.readouterr().out)
    assert told["predictions"] == "http://127.0.0.1:8080"
    assert told["examples"] == BODIES
    assert told["seconds"] == 3.2


def test_a_command_to_paste_sends_the_key_where_one_is_set():
    command = curl_command("http://h/v1/predict", BODIES[1], has_key=True)
    assert command.endswith(' -H "X-API-Key: $BEACON_API_KEY"')
    assert "API-Key" not in curl_command("http://h/v1/predict", BODIES[1])
