"""What each role of the database must not have: by PostgreSQL's catalog, and by trying."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from support.postgres import Postgres, postgres, postgres_with_roles

from beacon_core.data.database import DatabaseUnavailableError, migrate_at, open_store
from beacon_core.data.roles import GRANTS, MLFLOW, OWNER
from beacon_core.data.tables import metadata

pytestmark = pytest.mark.slow

SERVICES = sorted(GRANTS)
EVERYONE = [*SERVICES, OWNER, MLFLOW]
TABLES = sorted({*metadata.tables, "alembic_version"})
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
WRITERS = {
    "predictions": {"beacon_prediction_log"},
    "actuals": {"beacon_prediction_log"},
    "traffic": set(),
    "verdicts": {"beacon_retraining"},
    "approvals": {"beacon_console", "beacon_promotion"},  # a rollback by hand is a rejection, too
    "promotions": {"beacon_promotion"},
    "data_removals": {"beacon_retention"},
    "alembic_version": set(),
    "schema_support": set(),
}
DELETERS = {"predictions": {"beacon_retention"}, "actuals": {"beacon_retention"}}
"""Tables that others judge by: who appends to each, written down apart from the table of grants."""

ON_TABLES = {
    "SELECT": "SELECT 1 FROM {table} LIMIT 0",
    "INSERT": "INSERT INTO {table} SELECT (json_populate_record(NULL::{table}, '{{}}')).* LIMIT 0",
    "UPDATE": "UPDATE {table} SET {column} = NULL WHERE false",
    "DELETE": "DELETE FROM {table} WHERE false",
    "TRUNCATE": "TRUNCATE {table}",
}
OWNERS_ALONE = (
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} DISABLE TRIGGER USER",
    "ALTER TABLE {table} ADD COLUMN more int",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
    "ALTER TABLE {table} RENAME TO other",
    "ALTER TABLE {table} DISABLE RULE other",
    "CREATE TRIGGER mine BEFORE INSERT ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE mine AS ON DELETE TO {table} DO INSTEAD NOTHING",
    "CREATE INDEX ON {table} ({column})",
    "DROP TABLE {table}",
)
"""None of them is any verb's: `REFERENCES` alone needs a table of one's own, which nobody can make."""
ANYWHERE = (
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY predictions FROM PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/beacon'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_reload_conf()",
    "SELECT setval('promotions_id_seq', 1)",
    "CREATE TABLE mine (number int)",
    "CREATE TEMPORARY TABLE mine (number int)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE SEQUENCE mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "CREATE EXTENSION {extension}",
    "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION promotions_append_only()",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE beacon_owner PASSWORD 'mine'",
    "ALTER DATABASE beacon SET session_replication_role = replica",
    "ALTER FUNCTION promotions_append_only() OWNER TO CURRENT_USER",
    "ALTER FUNCTION count_predictions() SECURITY INVOKER",
    "DROP FUNCTION promotions_append_only() CASCADE",
    "DROP SCHEMA public CASCADE",
    "SET session_replication_role = replica",  # by which no trigger would run
    "SET SESSION AUTHORIZATION beacon",
    *(f"SET ROLE {role}" for role in ("beacon", OWNER, MLFLOW, "pg_read_server_files", "pg_execute_server_program")),
    f"GRANT {OWNER} TO CURRENT_USER",
)
"""What no service may do, wherever."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with postgres_with_roles() as running:
        yield running


@pytest.fixture(scope="module")
def administrator(cluster: Postgres) -> Iterator[Engine]:
    """The superuser, who asks the catalog about the others."""
    engine = create_engine(cluster.url_of("beacon"))
    yield engine
    engine.dispose()


@contextmanager
def logged_in(cluster: Postgres, role: str, database: str = "beacon") -> Iterator[Connection]:
    engine = open_store(cluster.url_of(role, database))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def refused(connection: Connection, statement: str) -> bool:
    """Whether a statement is refused for want of a privilege; another error is none of ours."""
    try:
        connection.exec_driver_sql(statement)
    except ProgrammingError as error:
        if type(error.orig).__name__ == "InsufficientPrivilege":
            return True
        raise
    finally:
        connection.rollback()
    return False


def ask(engine: Engine, query: str, **parameters: object) -> bool:
    with engine.connect() as connection:
        found = connection.scalar(text(query), parameters)
    assert found is not None
    return bool(found)


@pytest.mark.parametrize("role", SERVICES)
def test_the_catalog_gives_a_service_its_verbs_and_nothing_more(administrator: Engine, role: str) -> None:
    for table in TABLES:
        has = {
            verb
            for verb in PRIVILEGES
            if ask(administrator, "SELECT has_table_privilege(:role, :table, :verb)", role=role, table=table, verb=verb)
            or ask(
                administrator,
                "SELECT :verb IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND "
                "has_any_column_privilege(:role, :table, CASE WHEN :verb IN ('SELECT', 'INSERT', 'UPDATE', "
                "'REFERENCES') THEN :verb ELSE 'SELECT' END)",
                role=role, table=table, verb=verb,
            )
        }  # fmt: skip
        assert has == set(GRANTS[role].get(table, ())), table
    with administrator.connect() as connection:
        sequences = connection.execute(text("SELECT relname FROM pg_class WHERE relkind = 'S'")).scalars().all()
    assert sequences
    for sequence in sequences:
        inserts = "INSERT" in GRANTS[role].get(sequence.removesuffix("_id_seq"), ())
        for verb, wanted in (("USAGE", inserts), ("SELECT", False), ("UPDATE", False)):
            query = "SELECT has_sequence_privilege(:role, :sequence, :verb)"
            assert ask(administrator, query, role=role, sequence=sequence, verb=verb) is wanted, sequence


@pytest.mark.parametrize("role", EVERYONE)
def test_nobody_has_an_attribute_a_membership_or_another_database(administrator: Engine, role: str) -> None:
    attributes = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
    assert not ask(administrator, f"SELECT {attributes} FROM pg_roles WHERE rolname = :role", role=role)
    with administrator.connect() as connection:
        others = connection.execute(text("SELECT rolname FROM pg_roles WHERE rolname <> :role"), {"role": role})
        for other in others.scalars().all():
            # The owner of a database is pg_database_owner there, whose one right is to own the schema `public`.
            if (role, other) != (OWNER, "pg_database_owner"):
                query = "SELECT pg_has_role(:role, :other, 'MEMBER') OR pg_has_role(:other, :role, 'MEMBER')"
                superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = :other"
                assert ask(administrator, superuser, other=other) or not ask(
                    administrator, query, role=role, other=other
                ), other
        databases = connection.execute(text("SELECT datname FROM pg_database WHERE datallowconn")).scalars().all()
    assert {"beacon", "mlflow", "postgres", "template1"} <= set(databases)
    own = "mlflow" if role == MLFLOW else "beacon"
    for database in databases:
        for verb in ("CONNECT", "CREATE", "TEMPORARY"):
            wanted = database == own and (verb == "CONNECT" or role in {OWNER, MLFLOW})
            query = "SELECT has_database_privilege(:role, :database, :verb)"
            assert ask(administrator, query, role=role, database=database, verb=verb) is wanted, (database, verb)
    for verb in ("CREATE", "USAGE"):
        wanted = role == OWNER or (verb == "USAGE" and role in SERVICES)
        query = "SELECT has_schema_privilege(:role, 'public', :verb)"
        assert ask(administrator, query, role=role, verb=verb) is wanted, verb


def test_every_table_and_function_is_the_owners(administrator: Engine) -> None:
    for query in (
        "SELECT bool_and(relowner = :owner::regrole) FROM pg_class WHERE relnamespace = 'public'::regnamespace",
        "SELECT bool_and(proowner = :owner::regrole) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    ):
        assert ask(administrator, query.replace(":owner", f"'{OWNER}'"))


@pytest.mark.parametrize("role", SERVICES)
def test_a_service_is_refused_whatever_it_tries(cluster: Postgres, administrator: Engine, role: str) -> None:
    with administrator.connect() as connection:
        query = "SELECT name FROM pg_available_extensions WHERE installed_version IS NULL ORDER BY name LIMIT 1"
        extension = connection.scalar(text(query))
        columns = {table: _nullable_or_first(connection, table) for table in TABLES}
    with logged_in(cluster, role) as connection:
        for table in TABLES:
            for verb, statement in ON_TABLES.items():
                tried = statement.format(table=table, column=columns[table])
                assert refused(connection, tried) is (verb not in GRANTS[role].get(table, ())), tried
            if not {"UPDATE", "DELETE"} & set(GRANTS[role].get(table, ())):
                assert refused(connection, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"), table
            for statement in OWNERS_ALONE:
                tried = statement.format(table=table, column=columns[table])
                assert refused(connection, tried), tried
        for statement in ANYWHERE:
            assert refused(connection, statement.format(extension=extension)), statement


@pytest.mark.parametrize("role", EVERYONE)
def test_nobody_logs_in_to_the_database_of_another(cluster: Postgres, role: str) -> None:
    own = "mlflow" if role == MLFLOW else "beacon"
    for database in ("beacon", "mlflow", "postgres", "template1"):
        if database == own:
            with logged_in(cluster, role, database) as connection:
                assert connection.scalar(text("SELECT current_user")) == role
        else:
            with (
                pytest.raises(OperationalError, match="permission denied for database"),
                logged_in(cluster, role, database),
            ):
                pass


def test_who_writes_what_others_judge_by_only_appends_to_it() -> None:
    for table, writers in WRITERS.items():
        found = {role for role in SERVICES if set(GRANTS[role].get(table, ())) - {"SELECT"}}
        assert found == writers | DELETERS.get(table, set()), table
        assert all(set(GRANTS[role][table]) == {"SELECT", "DELETE"} for role in DELETERS.get(table, ())), table
        assert all(set(GRANTS[role][table]) == {"SELECT", "INSERT"} for role in writers), table
    assert all(set(verbs) <= set(PRIVILEGES[:4]) for given in GRANTS.values() for verbs in given.values())
    assert {table for given in GRANTS.values() for table in given} <= set(TABLES)


def test_a_migration_takes_back_what_was_given_by_hand_or_before(cluster: Postgres, administrator: Engine) -> None:
    given = (
        "GRANT ALL ON promotions TO beacon_promotion",
        "GRANT UPDATE (reason) ON approvals TO beacon_console",
        "GRANT SELECT ON verdicts TO PUBLIC",
        "GRANT ALL ON SEQUENCE actuals_id_seq TO beacon_console",
        "REVOKE INSERT ON predictions FROM beacon_prediction_log",
    )
    with logged_in(cluster, OWNER) as connection:
        for statement in given:
            connection.exec_driver_sql(statement)
        connection.commit()
    migrate_at(cluster.url_of(OWNER))
    for role in SERVICES:
        test_the_catalog_gives_a_service_its_verbs_and_nothing_more(administrator, role)


def test_a_service_finds_the_newest_schema_and_never_makes_one(cluster: Postgres) -> None:
    jobs = [role for role in SERVICES if "alembic_version" in GRANTS[role]]
    assert len(jobs) == len(SERVICES) - 1
    for role in jobs:
        migrate_at(cluster.url_of(role))
    with logged_in(cluster, OWNER) as connection:
        newest = connection.scalar(text("SELECT version_num FROM alembic_version"))
        connection.exec_driver_sql("DELETE FROM alembic_version")
        connection.commit()
    try:
        with pytest.raises(DatabaseUnavailableError, match=r"needs a migration from nothing to .* run it as the owner"):
            migrate_at(cluster.url_of(jobs[0]))
    finally:
        with logged_in(cluster, OWNER) as connection:
            connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{newest}')")
            connection.commit()


def test_each_role_logs_in_by_its_own_password_alone(cluster: Postgres) -> None:
    passwords = {role: f"it's {role}'s \\ \"own\" :word" for role in EVERYONE}
    variables = {f"{role.removeprefix('beacon_').upper()}_PASSWORD": given for role, given in passwords.items()}
    cluster.make_roles(**variables)
    cluster.make_roles()  # which changes no password
    with cluster.asking_for_passwords():
        for role in EVERYONE:
            place = {"host": "127.0.0.1", "port": cluster.port, "dbname": "mlflow" if role == MLFLOW else "beacon"}
            for other in (role, EVERYONE[EVERYONE.index(role) - 1]):
                engine = create_engine(
                    "postgresql+psycopg://", connect_args=place | {"user": role, "password": passwords[other]}
                )
                if other == role:
                    engine.connect().close()
                else:
                    with pytest.raises(OperationalError, match="password authentication failed"):
                        engine.connect()
                engine.dispose()


def test_an_installation_of_one_user_is_handed_over_with_its_rows() -> None:
    with postgres() as cluster:
        for database in ("beacon", "mlflow"):
            cluster.create_database(database)
        migrate_at(cluster.url_of("beacon"))
        old, mlflow = (create_engine(cluster.url_of("beacon", name)) for name in ("beacon", "mlflow"))
        with old.begin() as connection:
            connection.exec_driver_sql("INSERT INTO watermarks VALUES ('drift', '{}', now())")
        with mlflow.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE runs (number serial)")
            connection.exec_driver_sql("INSERT INTO runs DEFAULT VALUES")
        cluster.make_roles()
        cluster.make_roles()
        migrate_at(cluster.url_of(OWNER))
        test_every_table_and_function_is_the_owners(old)
        with logged_in(cluster, MLFLOW, "mlflow") as connection:
            connection.exec_driver_sql("ALTER TABLE runs ADD COLUMN name text")  # as MLflow's migrations do
            connection.exec_driver_sql("INSERT INTO runs DEFAULT VALUES")
            assert connection.scalar(text("SELECT count(*) FROM runs")) == 2
        with logged_in(cluster, "beacon_drift_profiling") as connection:
            assert connection.scalar(text("SELECT job FROM watermarks")) == "drift"
        for role in SERVICES:
            test_the_catalog_gives_a_service_its_verbs_and_nothing_more(old, role)
        for engine in (old, mlflow):
            engine.dispose()


@pytest.mark.parametrize("before", [False, True], ids=["new", "upgraded"])
def test_an_administrator_who_is_no_superuser_makes_the_roles_too(before: bool) -> None:
    """As on a managed server; where one user had everything, by the statements of docs/how-to/deploy.md."""
    with postgres() as cluster:
        cluster.query("CREATE ROLE administrator LOGIN CREATEROLE CREATEDB")
        if before:
            cluster.query("SET ROLE administrator; CREATE ROLE old LOGIN")
            for database in ("beacon", "mlflow"):
                cluster.create_database(database, "old")
            migrate_at(cluster.url_of("old"))
            as_administrator(cluster, "GRANT old TO administrator")
        for _ in range(2):
            cluster.make_roles("administrator")
        if before:
            as_administrator(cluster, f"GRANT {OWNER} TO old")
            migrate_at(cluster.url_of("old"))  # an old pod
            with logged_in(cluster, "old") as connection:
                connection.exec_driver_sql("INSERT INTO watermarks VALUES ('drift', '{}', now())")
        migrate_at(cluster.url_of(OWNER))
        if before:
            as_administrator(cluster, f"REVOKE {OWNER} FROM old")
            as_administrator(cluster, "DROP ROLE old")
        engine = create_engine(cluster.url_of("beacon"))
        test_every_table_and_function_is_the_owners(engine)
        for role in SERVICES:
            test_the_catalog_gives_a_service_its_verbs_and_nothing_more(engine, role)
        with engine.connect() as connection:
            query = "SELECT datdba::regrole::text FROM pg_database WHERE datname IN ('beacon', 'mlflow') ORDER BY 1"
            assert connection.execute(text(query)).scalars().all() == [MLFLOW, OWNER]
        engine.dispose()


def as_administrator(cluster: Postgres, statement: str) -> None:
    with logged_in(cluster, "administrator", "postgres") as connection:
        connection.exec_driver_sql(statement)
        connection.commit()


def test_one_user_may_do_everything_where_there_are_no_roles() -> None:
    with postgres() as cluster:
        migrate_at(cluster.url)
        assert cluster.query("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'beacon_%'") == [(0,)]
        cluster.query("INSERT INTO watermarks VALUES ('drift', '{}', now())")


def _nullable_or_first(connection: Connection, table: str) -> str:
    query = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum = 1"
    return str(connection.scalar(text(query), {"table": table}))
