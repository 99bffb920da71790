"""A real PgBouncer in transaction mode before a PostgreSQL of the tests."""

import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.engine import URL, make_url
from support.ports import free_port
from support.postgres import new_folder
from support.waiting import until

PROGRAM = "pgbouncer"
SERVER_CONNECTIONS = 2
"""So few for each database and user that every client is given another's now and then."""


def version() -> tuple[int, ...]:
    """Of the PgBouncer that is here; skips the test where there is none."""
    if shutil.which(PROGRAM) is None:
        pytest.skip("there is no pgbouncer on the path (Debian's package pgbouncer)")
    told = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)", told)
    assert found, told
    return tuple(map(int, found.groups()))


@contextlib.contextmanager
def pooler(url: str) -> Iterator[URL]:
    """The same database through a PgBouncer, for as long as the block lasts."""
    version()
    address = make_url(url)
    folder, port = new_folder(), free_port()
    users = {"beacon", str(address.username)}
    (folder / "users").write_text("".join(f'"{name}" ""\n' for name in sorted(users)), encoding="utf-8")
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": folder / "users",
        "pool_mode": "transaction",
        "default_pool_size": SERVER_CONNECTIONS,
        "max_client_conn": 100,
        "logfile": folder / "log",
        "pidfile": folder / "pid",
    }
    lines = ["[databases]", f"* = host={address.host} port={address.port}", "[pgbouncer]"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
    user: dict[str, Any] = {}
    if os.getuid() == 0:  # which it refuses to run as
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    command = [PROGRAM, "--quiet", str(folder / "pgbouncer.ini")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **user)
    try:
        until(lambda: _listens(port), f"PgBouncer ({folder / 'log'})")
        yield address.set(host="127.0.0.1", port=port)
    finally:
        process.terminate()
        process.wait(timeout=20)
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
