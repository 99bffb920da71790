"""Create every table, index and trigger of the store.

A trigger counts the predictions by hour and model version, whoever logs them: counting a table of millions of rows
takes long, and the console needs the count at every visit. Other triggers keep the ledger of promotions append-only.
SQLite drops a trigger with its table: a migration that copies `predictions` or `promotions` must create it again.
"""

import sqlalchemy as sa
from alembic import op
from beacon_core.data.tables import Json, JsonOrNull, UtcTime

revision = '0001_tables'
down_revision = None

HAS_ENTITY = sa.text('entity IS NOT NULL')
RULE = 'the ledger is append-only'

SQLITE_COUNT = """
CREATE TRIGGER count_prediction AFTER INSERT ON predictions BEGIN
  INSERT INTO traffic (hour, model_version, lane, predictions)
  VALUES (substr(new.time, 1, 13) || ':00:00.000000', new.model_version, 0, 1)
  ON CONFLICT (hour, model_version, lane) DO UPDATE SET predictions = predictions + 1;
END
"""
COUNT_FUNCTION = """
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
COUNT_TRIGGER = """
CREATE TRIGGER count_predictions AFTER INSERT ON predictions REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION count_predictions()
"""
TABLES = (
    'promotions', 'approvals', 'verdicts', 'retrain_requests', 'watermarks', 'model_error', 'drift_results',
    'drift_runs', 'profiles', 'job_runs', 'actuals', 'traffic', 'predictions',
)


def upgrade() -> None:
    _create_prediction_log()
    _create_jobs()
    _create_drift()
    _create_promotion()
    if op.get_context().dialect.name == 'postgresql':
        _create_postgresql_triggers()
    else:
        _create_sqlite_triggers()


def _create_prediction_log() -> None:
    op.create_table('predictions',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('time', UtcTime, nullable=False),
    sa.Column('entity', sa.String(length=512), nullable=True),
    sa.Column('features', Json, nullable=False),
    sa.Column('from_store', JsonOrNull, nullable=True),
    sa.Column('imputed', Json, nullable=False),
    sa.Column('out_of_range', Json, nullable=False),
    sa.Column('prediction', sa.Float(), nullable=False),
    sa.Column('low', sa.Float(), nullable=False),
    sa.Column('high', sa.Float(), nullable=False),
    sa.Column('model_version', sa.String(length=63), nullable=False),
    sa.Column('model_sha256', sa.String(length=64), nullable=False),
    sa.Column('shadow_version', sa.String(length=63), nullable=True),
    sa.Column('shadow_prediction', sa.Float(), nullable=True),
    sa.Column('latency_seconds', sa.Float(), nullable=False),
    sa.Column('request_id', sa.String(length=64), nullable=False),
    sa.Column('trace_id', sa.String(length=32), nullable=True),
    sa.Column('input_digest', sa.String(length=64), nullable=True),
    sa.Column('client', sa.String(length=63), nullable=True),
    sa.Column('logged_at', UtcTime, server_default=sa.func.now(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_predictions_time', 'predictions', ['time'])
    op.create_index('ix_predictions_logged_at', 'predictions', ['logged_at'])
    op.create_index('ix_predictions_model_version_time', 'predictions', ['model_version', 'time'])
    op.create_index(
        'ix_predictions_entity_time', 'predictions', ['entity', 'time'],
        postgresql_where=HAS_ENTITY, sqlite_where=HAS_ENTITY,
    )
    op.create_table('traffic',
    sa.Column('hour', UtcTime, nullable=False),
    sa.Column('model_version', sa.String(length=63), nullable=False),
    sa.Column('lane', sa.Integer(), nullable=False),
    sa.Column('predictions', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('hour', 'model_version', 'lane')
    )
    op.create_table('actuals',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('prediction_id', sa.String(length=64), nullable=True),
    sa.Column('entity', sa.String(length=512), nullable=True),
    sa.Column('value', sa.Float(), nullable=False),
    sa.Column('observed_at', UtcTime, nullable=False),
    sa.Column('received_at', UtcTime, nullable=False),
    sa.Column('source', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_actuals_prediction_id', 'actuals', ['prediction_id'])
    op.create_index('ix_actuals_received_at', 'actuals', ['received_at'])
    op.create_index('ix_actuals_entity_observed_at', 'actuals', ['entity', 'observed_at'])


def _create_jobs() -> None:
    op.create_table('job_runs',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('job', sa.String(length=64), nullable=False),
    sa.Column('period', sa.String(length=64), nullable=False),
    sa.Column('stage', sa.String(length=64), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('started_at', UtcTime, nullable=False),
    sa.Column('ended_at', UtcTime, nullable=True),
    sa.Column('rows', sa.Integer(), nullable=True),
    sa.Column('details', Json, nullable=True),
    sa.Column('error', sa.String(), nullable=True),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_job_runs_job', 'job_runs', ['job'])
    op.create_table('watermarks',
    sa.Column('job', sa.String(length=64), nullable=False),
    sa.Column('position', Json, nullable=False),
    sa.Column('updated_at', UtcTime, nullable=False),
    sa.PrimaryKeyConstraint('job')
    )
    op.create_table('retrain_requests',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('cause', sa.String(length=255), nullable=False),
    sa.Column('requested_by', sa.String(length=64), nullable=False),
    sa.Column('reason', sa.String(), nullable=False),
    sa.Column('details', Json, nullable=True),
    sa.Column('created_at', UtcTime, nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('taken_at', UtcTime, nullable=True),
    sa.Column('ended_at', UtcTime, nullable=True),
    sa.Column('outcome', sa.String(), nullable=True),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('cause')
    )


def _create_drift() -> None:
    op.create_table('profiles',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('model_version', sa.String(length=63), nullable=False),
    sa.Column('hour', UtcTime, nullable=False),
    sa.Column('segment', sa.String(length=127), nullable=False),
    sa.Column('rows', sa.Integer(), nullable=False),
    sa.Column('bytes', sa.LargeBinary(), nullable=False),
    sa.Column('sums', Json, nullable=False),
    sa.Column('profiled_at', UtcTime, nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('model_version', 'hour', 'segment')
    )
    op.create_table('drift_runs',
    sa.Column('period', sa.String(length=64), nullable=False),
    sa.Column('created_at', UtcTime, nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('rows', sa.Integer(), nullable=False),
    sa.Column('summary', Json, nullable=False),
    sa.Column('report', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('period')
    )
    op.create_table('drift_results',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('period', sa.String(length=64), nullable=False),
    sa.Column('window', sa.String(length=8), nullable=False),
    sa.Column('model_version', sa.String(length=63), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('feature', sa.String(length=64), nullable=False),
    sa.Column('effect', sa.String(length=32), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('score', sa.Float(), nullable=True),
    sa.Column('p_value', sa.Float(), nullable=True),
    sa.Column('threshold', sa.Float(), nullable=True),
    sa.Column('rows', sa.Integer(), nullable=False),
    sa.Column('alarm', sa.Boolean(), nullable=False),
    sa.Column('confirmed', sa.Boolean(), nullable=False),
    sa.Column('details', Json, nullable=True),
    sa.Column('created_at', UtcTime, nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('period', 'window', 'model_version', 'kind', 'feature', 'effect')
    )
    op.create_table('model_error',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('period', sa.String(length=64), nullable=False),
    sa.Column('window', sa.String(length=8), nullable=False),
    sa.Column('segment', sa.String(length=127), nullable=False),
    sa.Column('model_version', sa.String(length=63), nullable=False),
    sa.Column('metric', sa.String(length=32), nullable=False),
    sa.Column('value', sa.Float(), nullable=True),
    sa.Column('low', sa.Float(), nullable=True),
    sa.Column('high', sa.Float(), nullable=True),
    sa.Column('rows', sa.Integer(), nullable=False),
    sa.Column('until', UtcTime, nullable=False),
    sa.Column('created_at', UtcTime, nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('period', 'window', 'segment', 'model_version', 'metric')
    )


def _create_promotion() -> None:
    op.create_table('verdicts',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('moment', UtcTime, nullable=False),
    sa.Column('product', sa.String(length=63), nullable=False),
    sa.Column('version', sa.String(length=63), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('champion_version', sa.String(length=63), nullable=True),
    sa.Column('outcome', sa.String(length=16), nullable=False),
    sa.Column('data_fingerprint', sa.String(length=64), nullable=False),
    sa.Column('verdict', Json, nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_verdicts_moment', 'verdicts', ['moment'])
    op.create_index('ix_verdicts_sha256', 'verdicts', ['sha256'])
    op.create_table('approvals',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('decided_at', UtcTime, nullable=False),
    sa.Column('product', sa.String(length=63), nullable=False),
    sa.Column('version', sa.String(length=63), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('decision', sa.String(length=16), nullable=False),
    sa.Column('person', sa.String(length=64), nullable=False),
    sa.Column('reason', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_approvals_sha256', 'approvals', ['sha256'])
    op.create_table('promotions',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('key', sa.String(length=64), nullable=False),
    sa.Column('run', sa.String(length=48), nullable=False),
    sa.Column('moment', UtcTime, nullable=False),
    sa.Column('product', sa.String(length=63), nullable=False),
    sa.Column('target', sa.String(length=127), nullable=False),
    sa.Column('actor', sa.String(length=64), nullable=False),
    sa.Column('action', sa.String(length=16), nullable=False),
    sa.Column('step', sa.String(length=16), nullable=False),
    sa.Column('outcome', sa.String(length=16), nullable=False),
    sa.Column('reason', sa.String(length=32), nullable=True),
    sa.Column('message', sa.String(), nullable=False),
    sa.Column('before', Json, nullable=True),
    sa.Column('after', Json, nullable=True),
    sa.Column('serving', Json, nullable=False),
    sa.Column('evidence', Json, nullable=True),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('key')
    )
    op.create_index('ix_promotions_product_moment', 'promotions', ['product', 'moment'])


def _create_postgresql_triggers() -> None:
    op.execute(COUNT_FUNCTION)
    op.execute(COUNT_TRIGGER)
    op.execute("CREATE FUNCTION promotions_append_only() RETURNS trigger LANGUAGE plpgsql AS "
               f"$$ BEGIN RAISE EXCEPTION '{RULE}'; END $$")
    op.execute('CREATE TRIGGER promotions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON promotions '
               'FOR EACH STATEMENT EXECUTE FUNCTION promotions_append_only()')


def _create_sqlite_triggers() -> None:
    op.execute(SQLITE_COUNT)
    for change in ('UPDATE', 'DELETE'):
        op.execute(f"CREATE TRIGGER promotions_no_{change.lower()} BEFORE {change} ON promotions "
                   f"BEGIN SELECT RAISE(ABORT, '{RULE}'); END")


def downgrade() -> None:
    for table in TABLES:  # and its triggers
        op.drop_table(table)
    if op.get_context().dialect.name == 'postgresql':
        op.execute('DROP FUNCTION promotions_append_only')
        op.execute('DROP FUNCTION count_predictions')
