"""MLflow's database: brought to the schema of this MLflow, by one at a time, and left alone where it is empty."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, inspect, text
from support.postgres import Postgres, postgres

from beacon_core.data.database import hold_migrations
from beacon_core.platform.settings import ROOT
from beacon_retraining.errors import RetrainError
from beacon_retraining.registry.schema import DONE, NOTHING, upgrade

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        running.create_database("registry")
        yield running


def in_mlflow(statement: str, url: str) -> None:
    """Run a statement with MLflow's own tools, whose warnings are its own."""
    code = f"import sys; from alembic import command; from mlflow.store.db import utils; {statement}"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_empty_database_is_left_to_mlflow(server: Postgres) -> None:
    url = server.url_of("beacon", "registry")
    assert upgrade(url) == NOTHING
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_an_older_schema_becomes_this_mlflows_while_another_waits(server: Postgres) -> None:
    url = server.url_of("beacon", "registry")
    engine = create_engine(url)
    in_mlflow("utils._initialize_tables(utils.create_sqlalchemy_engine(sys.argv[1]))", url)
    with engine.connect() as connection:
        newest = connection.scalar(text("SELECT version_num FROM alembic_version"))
    in_mlflow("command.downgrade(utils._get_alembic_config(sys.argv[1]), '-1')", url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) != newest
    ended = threading.Event()
    job = [sys.executable, str(ROOT / "jobs" / "migrate_mlflow.py"), "--wait", "60"]
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": url}

    def run() -> None:
        done = subprocess.run(job, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, DONE in done.stderr + done.stdout) == (0, True), done.stderr
        ended.set()

    with hold_migrations(url) as has_schema:
        assert has_schema
        other = threading.Thread(target=run)
        other.start()
        assert not ended.wait(3)
    other.join()
    assert ended.is_set()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == newest
    engine.dispose()


def test_what_mlflow_says_is_told(server: Postgres) -> None:
    url = server.url_of("beacon", "registry")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of_a_later_one'"))
    engine.dispose()
    with pytest.raises(RetrainError, match=r"mlflow db upgrade: .*of_a_later_one"):
        upgrade(url)
