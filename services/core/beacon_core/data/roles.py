"""The database roles: one for each service that reads or writes the store, and what each may do with which table.

The one table of grants. The migration gives them (`grant_all`), on PostgreSQL alone. `python -m tools.database_roles`
writes the page of docs and the statements that make the roles (charts/platform/files/roles.sql) from the names here.
Where the server has none of these roles, as on a laptop, nobody is granted anything, and one user does everything.
The roles of another installation on the same server begin with its name in place of `beacon`, as its owner's does.
"""

import time
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, text

from beacon_core.data.run_lock import lock_key

SELECT, INSERT, UPDATE, DELETE = VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
READ = (SELECT,)
APPEND = (SELECT, INSERT)
"""A writer reads, too: PostgreSQL asks for SELECT where a row's number comes back, or a conflict is skipped."""
CHANGE = (SELECT, INSERT, UPDATE)
REPLACE = (SELECT, INSERT, DELETE)

OWNER = "beacon_owner"
"""It owns the tables, and nobody but migrations logs in as it."""
MLFLOW = "beacon_mlflow"
"""It owns MLflow's database, and has no rights in Beacon's."""

SCHEMA_VERSION = "alembic_version"
SCHEMA_SUPPORT = "schema_support"
GRANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "beacon_prediction_log": {"predictions": APPEND, "actuals": APPEND},
    "beacon_feature_serving": {"predictions": READ, "job_runs": CHANGE, SCHEMA_VERSION: READ, SCHEMA_SUPPORT: READ},
    "beacon_drift_profiling": {
        "predictions": READ,
        "traffic": READ,
        "actuals": READ,
        "job_runs": CHANGE,
        "profiles": CHANGE,
        "drift_runs": CHANGE,
        "drift_results": REPLACE,
        "model_error": REPLACE,
        "watermarks": CHANGE,
        "retrain_requests": APPEND,
        SCHEMA_VERSION: READ,
        SCHEMA_SUPPORT: READ,
    },
    "beacon_retraining": {
        "predictions": READ,
        "actuals": READ,
        "job_runs": CHANGE,
        "retrain_requests": (SELECT, UPDATE),
        "verdicts": APPEND,
        "promotions": READ,
        SCHEMA_VERSION: READ,
        SCHEMA_SUPPORT: READ,
    },
    "beacon_retention": {
        "predictions": (SELECT, DELETE),
        "actuals": (SELECT, DELETE),
        "profiles": (SELECT, DELETE),
        "drift_runs": (SELECT, DELETE),
        "drift_results": (SELECT, DELETE),
        "model_error": (SELECT, DELETE),
        "watermarks": CHANGE,
        "job_runs": CHANGE,
        "data_removals": APPEND,
        SCHEMA_VERSION: READ,
        SCHEMA_SUPPORT: READ,
    },
    "beacon_promotion": {
        "predictions": READ,
        "actuals": READ,
        "verdicts": READ,
        "approvals": APPEND,
        "promotions": APPEND,
        SCHEMA_VERSION: READ,
        SCHEMA_SUPPORT: READ,
    },
    "beacon_console": {
        "predictions": READ,
        "traffic": READ,
        "actuals": READ,
        "job_runs": READ,
        "drift_runs": READ,
        "drift_results": READ,
        "model_error": READ,
        "retrain_requests": APPEND,
        "verdicts": READ,
        "approvals": APPEND,
        "promotions": READ,
        SCHEMA_VERSION: READ,
        SCHEMA_SUPPORT: READ,
    },
}
"""By role and table: the verbs. `traffic` has no writer, since a trigger of the owner counts; promotion rejects the
model that it is told to roll back. `beacon_retention` is the login of two jobs, expire and forget: it alone deletes
predictions and actuals."""

LOGINS = (OWNER, *GRANTS, MLFLOW)
"""Every role that logs in."""

COUNTER = "count_predictions"
"""The trigger's function that counts `traffic`."""


def short_name(role: str) -> str:
    """The role's name as values and Secrets have it."""
    return suffix_of(role).replace("_", "-")


def suffix_of(role: str) -> str:
    """What the role is called after the name of its installation."""
    return role.removeprefix("beacon_")


def may_migrate(connection: Connection) -> bool:
    """Whether this user may change the schema: the owner may, or one user who does everything; a service may not."""
    return bool(connection.scalar(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")))


LOCK_PAUSE_SECONDS = 0.2


def lock_migrations(connection: Connection) -> None:
    """Wait until no other migration is at work, until the transaction ends: several releases begin with one.

    It asks again and again: one statement that waits would be an open snapshot, for which the holder's index waits.
    """
    while not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": lock_key("migrate")}):
        end_snapshot(connection)
        time.sleep(LOCK_PAUSE_SECONDS)


def end_snapshot(connection: Connection) -> None:
    """Let the last query of a transaction that goes on hold no snapshot: its cursor would, until the next statement."""
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def grant_all(connection: Connection) -> None:
    """Give every role of the server that is one of ours its rights in the schema, and no other; safe to repeat."""
    schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
    _count_as_owner(connection, schema)
    roles = _roles_of(connection)
    if not roles:
        return
    tables = _names(connection, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    everyone = ", ".join(("PUBLIC", *(f'"{role}"' for role in sorted(roles))))
    for kind in ("TABLES", "SEQUENCES"):
        connection.exec_driver_sql(f"REVOKE ALL ON ALL {kind} IN SCHEMA {schema} FROM {everyone}")
    for role in sorted(roles):
        grants = GRANTS[roles[role]]
        for table in sorted(grants.keys() & tables):
            verbs = grants[table]
            connection.exec_driver_sql(f'GRANT {", ".join(verbs)} ON {schema}.{table} TO "{role}"')
            if INSERT in verbs:
                for sequence in _sequences(connection, f"{schema}.{table}"):
                    connection.exec_driver_sql(f'GRANT USAGE ON SEQUENCE {sequence} TO "{role}"')


def _roles_of(connection: Connection) -> dict[str, str]:
    """The server's roles of the installation whose owner migrates, and which of `GRANTS` each is.

    An owner of another name, such as one user who does everything, has those of `beacon`.
    """
    user = str(connection.scalar(text("SELECT current_user")))
    for prefix in dict.fromkeys((user.removesuffix("_owner"), "beacon")):
        names = {f"{prefix}_{suffix_of(role)}": role for role in GRANTS}
        found = _names(connection, "SELECT rolname FROM pg_roles WHERE rolname = ANY(:names)", names=list(names))
        if found and '"' not in prefix:
            return {name: role for name, role in names.items() if name in found}
    return {}


def _count_as_owner(connection: Connection, schema: str | None) -> None:
    """Let the trigger count with its owner's rights, so that nobody who logs predictions can change the counts."""
    function = f"{schema}.{COUNTER}()"
    found = text("SELECT prosecdef FROM pg_proc WHERE oid = to_regprocedure(:function)")
    if connection.scalar(found, {"function": function}) is False:
        # Its own path: a function with another's rights must find no table of the caller's.
        path = f"pg_catalog, {schema}, pg_temp"
        connection.exec_driver_sql(f"ALTER FUNCTION {function} SECURITY DEFINER SET search_path = {path}")
        connection.exec_driver_sql(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")


def _sequences(connection: Connection, table: str) -> Iterable[str]:
    """The sequences that number a table's rows."""
    query = (
        "SELECT pg_get_serial_sequence(:table, attname) FROM pg_attribute "
        "WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped "
        "AND pg_get_serial_sequence(:table, attname) IS NOT NULL"
    )
    return sorted(_names(connection, query, table=table))


def _names(connection: Connection, query: str, **parameters: Any) -> set[str]:
    return set(connection.execute(text(query), parameters).scalars())
