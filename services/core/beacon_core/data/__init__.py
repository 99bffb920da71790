"""All SQL of the project: tables, migrations and queries, each in one place."""
