"""A port that is taken is named, together with the setting that changes it."""

import os
import socket

import pytest
from support.ports import free_ports
from support.settings import Settings

from beacon_laptop.ports import PORTS, PortError, check_ports


@pytest.fixture
def free():
    """Settings whose ports are free."""
    return Settings(**dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))


def test_free_ports_pass(free):
    check_ports(free)


@pytest.mark.parametrize("setting", PORTS)
def test_a_taken_port_is_named_with_its_setting(free, setting):
    port = getattr(free, setting)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortError) as caught:
        check_ports(free)
    told = str(caught.value)
    assert told.startswith(f"port {port} ({PORTS[setting]}) is taken by ")
    assert f"(pid {os.getpid()}: " in told, "and so is the process"
    assert told.endswith(f"; stop it, or set another port by BEACON_{setting.upper()}=")
    assert len(str(caught.value).splitlines()) == 1, "only the taken port is named"


def test_a_port_open_on_every_address_is_taken_too(free):
    with socket.create_server(("0.0.0.0", free.mlflow_port)), pytest.raises(PortError, match="BEACON_MLFLOW_PORT"):
        check_ports(free)


def test_one_port_for_two_uses_is_refused():
    with pytest.raises(PortError, match=r"for both inference and MLflow; set another port by BEACON_MLFLOW_PORT="):
        check_ports(Settings(mlflow_port=8080))


def test_what_is_no_port_is_refused():
    with pytest.raises(PortError, match=r"port 70000 \(MLflow\) is not a port"):
        check_ports(Settings(mlflow_port=70000))
