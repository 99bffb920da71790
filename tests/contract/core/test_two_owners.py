"""Two products on one server of PostgreSQL: a database and roles for each, and no role of one gets into the other's."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from support.postgres import Postgres, postgres

from beacon_core.data.database import migrate_at
from beacon_core.data.roles import GRANTS, LOGINS, MLFLOW, OWNER, suffix_of

OTHER = "housing_beacon"
DATABASES = ("beacon", OTHER)
SUFFIXES = [suffix_of(role) for role in LOGINS if role != MLFLOW]
HELD = """
SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants
WHERE table_schema = 'public' AND grantee <> grantor AND grantee <> 'PUBLIC'
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """As the bundled server makes them: its own installation's, and then another's, twice."""
    with postgres() as cluster:
        cluster.make_roles()
        migrate_at(cluster.url_of(OWNER))
        for _ in range(2):
            cluster.make_roles("beacon", f"prefix={OTHER}", "mlflow=off")
            migrate_at(cluster.url_of(f"{OTHER}_owner", OTHER))
        yield cluster


def rows(server: Postgres, user: str, database: str, query: str) -> set[tuple[str, ...]]:
    engine = create_engine(server.url_of(user, database))
    try:
        with engine.connect() as connection:
            return {tuple(row) for row in connection.execute(text(query))}
    finally:
        engine.dispose()


def test_the_roles_of_each_have_the_same_rights_in_their_own_database_alone(server: Postgres) -> None:
    held = {name: rows(server, f"{name}_owner", name, HELD) for name in DATABASES}
    for name in DATABASES:
        assert {role.startswith(f"{name}_") for role, _, _ in held[name]} == {True}
    own = {(role.removeprefix("beacon_"), *rest) for role, *rest in held["beacon"]}
    assert own == {(role.removeprefix(f"{OTHER}_"), *rest) for role, *rest in held[OTHER]}
    wanted = {
        (suffix_of(role), table, verb) for role, grants in GRANTS.items() for table in grants for verb in grants[table]
    }
    assert own == wanted


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_role_of_one_logs_in_to_the_others(server: Postgres, suffix: str) -> None:
    for mine, other in (DATABASES, DATABASES[::-1]):
        assert rows(server, f"{mine}_{suffix}", mine, "SELECT 1") == {(1,)}
        for database in (other, "mlflow", "postgres"):
            with pytest.raises(OperationalError, match="permission denied for database"):
                rows(server, f"{mine}_{suffix}", database, "SELECT 1")


def test_mlflow_is_shared_and_its_role_made_once(server: Postgres) -> None:
    query = "SELECT rolname FROM pg_roles WHERE rolname LIKE '%mlflow'"
    assert rows(server, "beacon", "beacon", query) == {(MLFLOW,)}
    assert rows(server, MLFLOW, "mlflow", "SELECT 1") == {(1,)}


def test_an_owner_of_another_name_gives_the_usual_roles_their_rights(server: Postgres) -> None:
    """Who set `database.owner.user` to a name of their own has roles of the usual names."""
    server.query("CREATE ROLE homes LOGIN")
    server.create_database("homes", "homes")
    migrate_at(server.url_of("homes", "homes"))
    assert {role for role, _, _ in rows(server, "homes", "homes", HELD)} == set(GRANTS)
