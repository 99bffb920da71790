"""Write the statements that make the database's roles, and their page of docs: `python -m tools.database_roles`."""

from pathlib import Path

from beacon_core.data.roles import GRANTS, LOGINS, MLFLOW, VERBS, short_name, suffix_of
from beacon_core.data.tables import metadata
from tools.generated import Part, table

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "charts" / "platform" / "files" / "roles.sql"
PAGE = ROOT / "docs" / "reference" / "database-roles.md"
PART = Part("roles", "database_roles")

HEAD = """-- The roles of Beacon and of MLflow, and their databases; safe to repeat.
-- `python -m tools.database_roles` writes this file.
-- An administrator runs it by psql 14 or later: a superuser, or a role that may create roles and databases.
--   psql "host=HOST user=ADMINISTRATOR dbname=postgres" -f roles.sql
-- A variable gives each role its password (OWNER_PASSWORD, CONSOLE_PASSWORD, ...); without one it stays as it is.
-- `-v prefix=NAME` names another installation, whose database and roles (NAME_owner, ...) begin with it.
-- `-v mlflow=off` leaves MLflow's out, which several installations share.
-- `-v database=NAME` and `-v mlflow_database=NAME` name other databases.
-- Migrations, which log in as the owner, give the services their rights on the tables.
\\set ON_ERROR_STOP on
\\if :{?prefix}
\\else
\\set prefix beacon
\\endif
\\if :{?mlflow}
\\else
\\set mlflow on
\\endif
\\if :{?database}
\\else
\\set database :prefix
\\endif
\\if :{?mlflow_database}
\\else
\\set mlflow_database mlflow
\\endif
"""

DATABASES = """
-- Databases. Who gives something away to a role has to be its member; at the end no longer.
GRANT :"owner" TO CURRENT_USER;
"""

DATABASE = """SELECT format('CREATE DATABASE %I OWNER %I', :'{name}', :'{role}')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'{name}') \\gexec
ALTER DATABASE :"{name}" OWNER TO :"{role}";
"""

CONNECT = """
-- Who may log in where; in one transaction, since services may be at work.
BEGIN;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC, :"owner", :services;
GRANT ALL ON DATABASE :"database" TO :"owner";
GRANT CONNECT ON DATABASE :"database" TO :services;
\\if :mlflow
REVOKE ALL ON DATABASE :"database" FROM :"mlflow_role";
REVOKE ALL ON DATABASE :"mlflow_database" FROM PUBLIC, :"owner", :"mlflow_role", :services;
GRANT ALL ON DATABASE :"mlflow_database" TO :"mlflow_role";
\\endif
COMMIT;
-- On a server of one's own nobody but its owner has a reason to log in to the other databases.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname) FROM pg_database
WHERE datname IN ('postgres', 'template1') AND pg_has_role(datdba, 'USAGE') \\gexec
"""

OBJECTS = """
-- What is in this database. An installation of one user had another owner of it all.
\\connect :{name}
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"{role}";
SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, :'{role}') FROM pg_class AS c
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relowner <> :'{role}'::regrole
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e') \\gexec
SELECT format('ALTER FUNCTION %s OWNER TO %I', oid::regprocedure, :'{role}') FROM pg_proc AS p
WHERE pronamespace = 'public'::regnamespace AND prokind = 'f' AND proowner <> :'{role}'::regrole
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e') \\gexec
"""


def password_variable(role: str) -> str:
    """The environment variable that gives a role its password."""
    return f"{short_name(role).replace('-', '_').upper()}_PASSWORD"


def variable(role: str) -> str:
    """The variable of psql that has the role's name."""
    return "mlflow_role" if role == MLFLOW else suffix_of(role)


def script() -> str:
    """The statements, for psql."""
    services = ' ", " '.join(f":{variable(role)}" for role in GRANTS).replace('"', "'")
    parts = [
        HEAD,
        *(f"\\set {variable(role)} :prefix _{suffix_of(role)}\n" for role in LOGINS),
        f"\\set services {services}\n",
        "\n-- Roles, without any right that is not given here.\n",
        *(_role(role) for role in LOGINS if role != MLFLOW),
        _with_mlflow(_role(MLFLOW)),
        DATABASES,
        DATABASE.format(name="database", role="owner"),
        _with_mlflow(
            'GRANT :"mlflow_role" TO CURRENT_USER;\n', DATABASE.format(name="mlflow_database", role="mlflow_role")
        ),
        CONNECT,
        OBJECTS.format(name="database", role="owner"),
        "GRANT USAGE ON SCHEMA public TO :services;\n",
        _with_mlflow(
            OBJECTS.format(name="mlflow_database", role="mlflow_role"), '\nREVOKE :"mlflow_role" FROM CURRENT_USER;\n'
        ),
        'REVOKE :"owner" FROM CURRENT_USER;\n',
    ]
    return "".join(parts)


def _with_mlflow(*statements: str) -> str:
    return "".join(("\\if :mlflow\n", *statements, "\\endif\n"))


def _role(role: str) -> str:
    """Make a role where there is none, and give it its password where the environment has one."""
    name = variable(role)
    return (
        f"SELECT format('CREATE ROLE %I LOGIN', :'{name}') WHERE to_regrole(quote_ident(:'{name}')) IS NULL \\gexec\n"
        f"\\getenv password {password_variable(role)}\n"
        f"\\if :{{?password}}\nALTER ROLE :\"{name}\" PASSWORD :'password';\n\\unset password\n\\endif\n"
    )


def grants() -> str:
    """The table of grants: a row per table, a column per role."""
    roles = list(GRANTS)
    names = [*metadata.tables, *sorted({name for given in GRANTS.values() for name in given} - set(metadata.tables))]
    rows = [
        (f"`{name}`", *(", ".join(verb for verb in VERBS if verb in GRANTS[role].get(name, ())) for role in roles))
        for name in names
    ]
    return table(("table", *(f"`{role}`" for role in roles)), rows)


def current(page: str) -> str:
    """The page as it should be."""
    return PART.put(page, grants())


if __name__ == "__main__":
    SCRIPT.parent.mkdir(exist_ok=True)
    SCRIPT.write_text(script(), encoding="utf-8")
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
