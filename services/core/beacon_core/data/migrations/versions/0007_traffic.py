"""Count predictions by hour and model version as they are logged, whoever writes them.

A table with millions of rows takes long to count, and the console asks at every look. In SQLite the trigger is the
table's: a later migration that copies `predictions` must make it again.
"""

import sqlalchemy as sa
from alembic import op
from beacon_core.data.tables import UtcTime

revision = '0007'
down_revision = '0006'

SQLITE = """
CREATE TRIGGER count_prediction AFTER INSERT ON predictions BEGIN
  INSERT INTO traffic (hour, model_version, lane, predictions)
  VALUES (substr(new.time, 1, 13) || ':00:00.000000', new.model_version, 0, 1)
  ON CONFLICT (hour, model_version, lane) DO UPDATE SET predictions = predictions + 1;
END
"""
FUNCTION = """
CREATE FUNCTION count_predictions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO traffic (hour, model_version, lane, predictions)
  SELECT date_trunc('hour', time, 'UTC'), model_version, pg_backend_pid() % 16, count(*)
  FROM new_rows GROUP BY 1, 2 ORDER BY 1, 2
  ON CONFLICT (hour, model_version, lane) DO UPDATE SET predictions = traffic.predictions + excluded.predictions;
  RETURN NULL;
END
$$
"""
POSTGRESQL = """
CREATE TRIGGER count_predictions AFTER INSERT ON predictions REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION count_predictions()
"""
COUNTED = "INSERT INTO traffic (hour, model_version, lane, predictions) SELECT {hour}, model_version, 0, count(*) " \
    "FROM predictions GROUP BY 1, 2"


def upgrade() -> None:
    op.create_table('traffic',
    sa.Column('hour', UtcTime, nullable=False),
    sa.Column('model_version', sa.String(length=63), nullable=False),
    sa.Column('lane', sa.Integer(), nullable=False),
    sa.Column('predictions', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('hour', 'model_version', 'lane')
    )
    if op.get_context().dialect.name == 'postgresql':
        op.execute(FUNCTION)
        # Whoever logs waits from here to the commit; then every row is counted once, here or by the trigger.
        op.execute(POSTGRESQL)
        op.execute("SET LOCAL statement_timeout = 0")
        op.execute(COUNTED.format(hour="date_trunc('hour', time, 'UTC')"))
    else:
        op.execute(SQLITE)
        op.execute(COUNTED.format(hour="substr(time, 1, 13) || ':00:00.000000'"))


def downgrade() -> None:
    if op.get_context().dialect.name == 'postgresql':
        op.execute("DROP TRIGGER count_predictions ON predictions")
        op.execute("DROP FUNCTION count_predictions")
    else:
        op.execute("DROP TRIGGER count_prediction")
    op.drop_table('traffic')
