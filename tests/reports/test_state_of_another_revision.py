"""A state that another revision wrote: every command refuses it in one line, which says what to do, and leaves it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from beacon_core.data.database import migrate, open_store
from beacon_core.platform.settings import ROOT

OLD = "0008"
COMMANDS = {
    "make run": ("-m", "beacon_laptop"),
    "jobs/migrate.py": ("jobs/migrate.py",),
    "jobs/drift.py": ("jobs/drift.py",),
    "jobs/promote.py": ("jobs/promote.py", "history"),
    "jobs/approve.py": ("jobs/approve.py", "approve", "1", "--reason", "good", "--person", "me"),
    "jobs/skew.py": ("jobs/skew.py",),
    "jobs/retrain.py": ("jobs/retrain.py", "--here"),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :old"), {"old": OLD})
        connection.execute(text("DELETE FROM schema_support"))
    engine.dispose()
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_refused_in_one_line(home: Path, name: str) -> None:
    environment = {**os.environ, "BEACON_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, *COMMANDS[name]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if '"job ended"' not in line]
    assert done.returncode in {1, 2}
    assert len(lines) == 1, lines
    message = json.loads(lines[0])["message"] if lines[0].startswith("{") else lines[0]
    assert f"The database {home / 'beacon.db'} has the schema {OLD}, which this revision of Beacon does" in message
    assert message.endswith(f"or start over: move the folder {home} away.")
    engine = open_store(f"sqlite:///{home / 'beacon.db'}")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == OLD
    engine.dispose()
