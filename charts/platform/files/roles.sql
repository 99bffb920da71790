-- The roles of Beacon and of MLflow, and their databases; safe to repeat.
-- `python -m tools.database_roles` writes this file.
-- An administrator runs it by psql 14 or later: a superuser, or a role that may create roles and databases.
--   psql "host=HOST user=ADMINISTRATOR dbname=postgres" -f roles.sql
-- A variable gives each role its password (OWNER_PASSWORD, CONSOLE_PASSWORD, ...); without one it stays as it is.
-- `-v database=NAME` and `-v mlflow_database=NAME` name other databases.
-- Migrations, which log in as beacon_owner, give the services their rights on the tables.
\set ON_ERROR_STOP on
\if :{?database}
\else
\set database beacon
\endif
\if :{?mlflow_database}
\else
\set mlflow_database mlflow
\endif
\set services 'beacon_prediction_log, beacon_feature_serving, beacon_drift_profiling, beacon_retraining, beacon_retention, beacon_promotion, beacon_console'

-- Roles, without any right that is not given here.
SELECT 'CREATE ROLE beacon_owner LOGIN' WHERE to_regrole('beacon_owner') IS NULL \gexec
\getenv password OWNER_PASSWORD
\if :{?password}
ALTER ROLE beacon_owner PASSWORD :'password';
\unset password
\endif
SELECT 'CREATE ROLE beacon_prediction_log LOGIN' WHERE to_regrole('beacon_prediction_log') IS NULL \gexec
\getenv password PREDICTION_LOG_PASSWORD
\if :{?password}
ALTER ROLE beacon_prediction_log PASSWORD :'password';
\unset password
\endif
SELECT 'CREATE ROLE beacon_feature_serving LOGIN' WHERE to_regrole('beacon_feature_serving') IS NULL \gexec
\getenv password FEATURE_SERVING_PASSWORD
\if :{?password}
ALTER ROLE beacon_feature_serving PASSWORD :'password';
\unset password
\endif
SELECT 'CREATE ROLE beacon_drift_profiling LOGIN' WHERE to_regrole('beacon_drift_profiling') IS NULL \gexec
\getenv password DRIFT_PROFILING_PASSWORD
\if :{?password}
ALTER ROLE beacon_drift_profiling PASSWORD :'password';
\unset password
\endif
SELECT 'CREATE ROLE beacon_retraining LOGIN' WHERE to_regrole('beacon_retraining') IS NULL \gexec
\getenv password RETRAINING_PASSWORD
\if :{?password}
ALTER ROLE beacon_retraining PASSWORD :'password';
\unset password
\endif
SELECT 'CREATE ROLE beacon_retention LOGIN' WHERE to_regrole('beacon_retention') IS NULL \gexec
\getenv password RETENTION_PASSWORD
\if :{?password}
ALTER ROLE beacon_retention PASSWORD :'password';
\unset password
\endif
SELECT 'CREATE ROLE beacon_promotion LOGIN' WHERE to_regrole('beacon_promotion') IS NULL \gexec
\getenv password PROMOTION_PASSWORD
\if :{?password}
ALTER ROLE beacon_promotion PASSWORD :'password';
\unset password
\endif
SELECT 'CREATE ROLE beacon_console LOGIN' WHERE to_regrole('beacon_console') IS NULL \gexec
\getenv password CONSOLE_PASSWORD
\if :{?password}
ALTER ROLE beacon_console PASSWORD :'password';
\unset password
\endif
SELECT 'CREATE ROLE beacon_mlflow LOGIN' WHERE to_regrole('beacon_mlflow') IS NULL \gexec
\getenv password MLFLOW_PASSWORD
\if :{?password}
ALTER ROLE beacon_mlflow PASSWORD :'password';
\unset password
\endif

-- Databases. Who gives something away to a role has to be its member; at the end no longer.
GRANT beacon_owner, beacon_mlflow TO CURRENT_USER;
SELECT format('CREATE DATABASE %I OWNER beacon_owner', :'database')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
ALTER DATABASE :"database" OWNER TO beacon_owner;
SELECT format('CREATE DATABASE %I OWNER beacon_mlflow', :'mlflow_database')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'mlflow_database') \gexec
ALTER DATABASE :"mlflow_database" OWNER TO beacon_mlflow;

-- Who may log in where; in one transaction, since services may be at work.
BEGIN;
REVOKE ALL ON DATABASE :"database", :"mlflow_database" FROM PUBLIC, beacon_owner, beacon_mlflow, :services;
GRANT ALL ON DATABASE :"database" TO beacon_owner;
GRANT ALL ON DATABASE :"mlflow_database" TO beacon_mlflow;
GRANT CONNECT ON DATABASE :"database" TO :services;
COMMIT;
-- On a server of one's own nobody but its owner has a reason to log in to the other databases.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname) FROM pg_database
WHERE datname IN ('postgres', 'template1') AND pg_has_role(datdba, 'USAGE') \gexec

-- What is in this database. An installation of one user had another owner of it all.
\connect :database
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO beacon_owner;
SELECT format('ALTER TABLE %s OWNER TO beacon_owner', oid::regclass) FROM pg_class AS c
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relowner <> 'beacon_owner'::regrole
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e') \gexec
SELECT format('ALTER FUNCTION %s OWNER TO beacon_owner', oid::regprocedure) FROM pg_proc AS p
WHERE pronamespace = 'public'::regnamespace AND prokind = 'f' AND proowner <> 'beacon_owner'::regrole
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e') \gexec
GRANT USAGE ON SCHEMA public TO :services;

-- What is in this database. An installation of one user had another owner of it all.
\connect :mlflow_database
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO beacon_mlflow;
SELECT format('ALTER TABLE %s OWNER TO beacon_mlflow', oid::regclass) FROM pg_class AS c
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relowner <> 'beacon_mlflow'::regrole
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e') \gexec
SELECT format('ALTER FUNCTION %s OWNER TO beacon_mlflow', oid::regprocedure) FROM pg_proc AS p
WHERE pronamespace = 'public'::regnamespace AND prokind = 'f' AND proowner <> 'beacon_mlflow'::regrole
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e') \gexec

REVOKE beacon_owner, beacon_mlflow FROM CURRENT_USER;
