"""Create profiles, drift results, the realised error, watermarks and retrain requests; date each prediction's arrival."""

import sqlalchemy as sa
from alembic import op
from beacon_core.data.tables import Json, UtcTime

revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    # SQLite adds no column whose default is not constant; there the table is copied.
    with op.batch_alter_table('predictions', recreate='auto' if _is_postgresql() else 'always') as batch_op:
        batch_op.add_column(sa.Column('logged_at', UtcTime, server_default=sa.func.now(), nullable=False))
        batch_op.create_index(batch_op.f('ix_predictions_logged_at'), ['logged_at'], unique=False)
    with op.batch_alter_table('actuals') as batch_op:
        batch_op.create_index(batch_op.f('ix_actuals_received_at'), ['received_at'], unique=False)

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


def downgrade() -> None:
    for table in ('retrain_requests', 'watermarks', 'model_error', 'drift_results', 'drift_runs', 'profiles'):
        op.drop_table(table)
    with op.batch_alter_table('actuals') as batch_op:
        batch_op.drop_index(batch_op.f('ix_actuals_received_at'))
    with op.batch_alter_table('predictions') as batch_op:
        batch_op.drop_index(batch_op.f('ix_predictions_logged_at'))
        batch_op.drop_column('logged_at')


def _is_postgresql() -> bool:
    return op.get_context().dialect.name == 'postgresql'
