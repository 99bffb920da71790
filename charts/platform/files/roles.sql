-- The roles of Beacon and of MLflow, and their databases; safe to repeat.
-- `python -m tools.database_roles` writes this file.
-- An administrator runs it by psql 14 or later: a superuser, or a role that may create roles and databases.
--   psql "host=HOST user=ADMINISTRATOR dbname=postgres" -f roles.sql
-- A variable gives each role its password (OWNER_PASSWORD, CONSOLE_PASSWORD, ...); without one it stays as it is.
-- `-v prefix=NAME` names another installation, whose database and roles (NAME_owner, ...) begin with it.
-- `-v mlflow=off` leaves MLflow's out, which several installations share.
-- `-v database=NAME` and `-v mlflow_database=NAME` name other databases.
-- Migrations, which log in as the owner, give the services their rights on the tables.
\set ON_ERROR_STOP on
\if :{?prefix}
\else
\set prefix beacon
\endif
\if :{?mlflow}
\else
\set mlflow on
\endif
\if :{?database}
\else
\set database :prefix
\endif
\if :{?mlflow_database}
\else
\set mlflow_database mlflow
\endif
\set owner :prefix _owner
\set prediction_log :prefix _prediction_log
\set feature_serving :prefix _feature_serving
\set drift_profiling :prefix _drift_profiling
\set retraining :prefix _retraining
\set retention :prefix _retention
\set promotion :prefix _promotion
\set console :prefix _console
\set mlflow_role :prefix _mlflow
\set services :prediction_log ', ' :feature_serving ', ' :drift_profiling ', ' :retraining ', ' :retention ', ' :promotion ', ' :console

-- Roles, without any right that is not given here.
SELECT format('CREATE ROLE %I LOGIN', :'owner') WHERE to_regrole(quote_ident(:'owner')) IS NULL \gexec
\getenv password OWNER_PASSWORD
\if :{?password}
ALTER ROLE :"owner" PASSWORD :'password';
\unset password
\endif
SELECT format('CREATE ROLE %I LOGIN', :'prediction_log') WHERE to_regrole(quote_ident(:'prediction_log')) IS NULL \gexec
\getenv password PREDICTION_LOG_PASSWORD
\if :{?password}
ALTER ROLE :"prediction_log" PASSWORD :'password';
\unset password
\endif
SELECT format('CREATE ROLE %I LOGIN', :'feature_serving') WHERE to_regrole(quote_ident(:'feature_serving')) IS NULL \gexec
\getenv password FEATURE_SERVING_PASSWORD
\if :{?password}
ALTER ROLE :"feature_serving" PASSWORD :'password';
\unset password
\endif
SELECT format('CREATE ROLE %I LOGIN', :'drift_profiling') WHERE to_regrole(quote_ident(:'drift_profiling')) IS NULL \gexec
\getenv password DRIFT_PROFILING_PASSWORD
\if :{?password}
ALTER ROLE :"drift_profiling" PASSWORD :'password';
\unset password
\endif
SELECT format('CREATE ROLE %I LOGIN', :'retraining') WHERE to_regrole(quote_ident(:'retraining')) IS NULL \gexec
\getenv password RETRAINING_PASSWORD
\if :{?password}
ALTER ROLE :"retraining" PASSWORD :'password';
\unset password
\endif
SELECT format('CREATE ROLE %I LOGIN', :'retention') WHERE to_regrole(quote_ident(:'retention')) IS NULL \gexec
\getenv password RETENTION_PASSWORD
\if :{?password}
ALTER ROLE :"retention" PASSWORD :'password';
\unset password
\endif
SELECT format('CREATE ROLE %I LOGIN', :'promotion') WHERE to_regrole(quote_ident(:'promotion')) IS NULL \gexec
\getenv password PROMOTION_PASSWORD
\if :{?password}
ALTER ROLE :"promotion" PASSWORD :'password';
\unset password
\endif
SELECT format('CREATE ROLE %I LOGIN', :'console') WHERE to_regrole(quote_ident(:'console')) IS NULL \gexec
\getenv password CONSOLE_PASSWORD
\if :{?password}
ALTER ROLE :"console" PASSWORD :'password';
\unset password
\endif
\if :mlflow
SELECT format('CREATE ROLE %I LOGIN', :'mlflow_role') WHERE to_regrole(quote_ident(:'mlflow_role')) IS NULL \gexec
\getenv password MLFLOW_PASSWORD
\if :{?password}
ALTER ROLE :"mlflow_role" PASSWORD :'password';
\unset password
\endif
\endif

-- Databases. Who gives something away to a role has to be its member; at the end no longer.
GRANT :"owner" TO CURRENT_USER;
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
ALTER DATABASE :"database" OWNER TO :"owner";
\if :mlflow
GRANT :"mlflow_role" TO CURRENT_USER;
SELECT format('CREATE DATABASE %I OWNER %I', :'mlflow_database', :'mlflow_role')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'mlflow_database') \gexec
ALTER DATABASE :"mlflow_database" OWNER TO :"mlflow_role";
\endif

-- Who may log in where; in one transaction, since services may be at work.
BEGIN;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC, :"owner", :services;
GRANT ALL ON DATABASE :"database" TO :"owner";
GRANT CONNECT ON DATABASE :"database" TO :services;
\if :mlflow
REVOKE ALL ON DATABASE :"database" FROM :"mlflow_role";
REVOKE ALL ON DATABASE :"mlflow_database" FROM PUBLIC, :"owner", :"mlflow_role", :services;
GRANT ALL ON DATABASE :"mlflow_database" TO :"mlflow_role";
\endif
COMMIT;
-- On a server of one's own nobody but its owner has a reason to log in to the other databases.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname) FROM pg_database
WHERE datname IN ('postgres', 'template1') AND pg_has_role(datdba, 'USAGE') \gexec

-- What is in this database. An installation of one user had another owner of it all.
\connect :database
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, :'owner') FROM pg_class AS c
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relowner <> :'owner'::regrole
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e') \gexec
SELECT format('ALTER FUNCTION %s OWNER TO %I', oid::regprocedure, :'owner') FROM pg_proc AS p
WHERE pronamespace = 'public'::regnamespace AND prokind = 'f' AND proowner <> :'owner'::regrole
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e') \gexec
GRANT USAGE ON SCHEMA public TO :services;
\if :mlflow

-- What is in this database. An installation of one user had another owner of it all.
\connect :mlflow_database
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"mlflow_role";
SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, :'mlflow_role') FROM pg_class AS c
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relowner <> :'mlflow_role'::regrole
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e') \gexec
SELECT format('ALTER FUNCTION %s OWNER TO %I', oid::regprocedure, :'mlflow_role') FROM pg_proc AS p
WHERE pronamespace = 'public'::regnamespace AND prokind = 'f' AND proowner <> :'mlflow_role'::regrole
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e') \gexec

REVOKE :"mlflow_role" FROM CURRENT_USER;
\endif
REVOKE :"owner" FROM CURRENT_USER;
