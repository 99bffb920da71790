"""Create the prediction log, actuals and job runs."""

import sqlalchemy as sa
from alembic import op
from beacon_core.data.tables import Json, UtcTime

revision = '0001'
down_revision = None


def upgrade() -> None:
    op.create_table('actuals',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('prediction_id', sa.String(length=64), nullable=True),
    sa.Column('entity', sa.String(length=64), nullable=True),
    sa.Column('value', sa.Float(), nullable=False),
    sa.Column('observed_at', UtcTime, nullable=False),
    sa.Column('received_at', UtcTime, nullable=False),
    sa.Column('source', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('actuals', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_actuals_entity'), ['entity'], unique=False)
        batch_op.create_index(batch_op.f('ix_actuals_prediction_id'), ['prediction_id'], unique=False)

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
    with op.batch_alter_table('job_runs', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_job_runs_job'), ['job'], unique=False)

    op.create_table('predictions',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('time', UtcTime, nullable=False),
    sa.Column('entity', sa.String(length=64), nullable=True),
    sa.Column('features', Json, nullable=False),
    sa.Column('served', Json, nullable=True),
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
    sa.Column('body_sha256', sa.String(length=64), nullable=True),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('predictions', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_predictions_entity'), ['entity'], unique=False)
        batch_op.create_index(batch_op.f('ix_predictions_time'), ['time'], unique=False)



def downgrade() -> None:
    with op.batch_alter_table('predictions', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_predictions_time'))
        batch_op.drop_index(batch_op.f('ix_predictions_entity'))

    op.drop_table('predictions')
    with op.batch_alter_table('job_runs', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_job_runs_job'))

    op.drop_table('job_runs')
    with op.batch_alter_table('actuals', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_actuals_prediction_id'))
        batch_op.drop_index(batch_op.f('ix_actuals_entity'))

    op.drop_table('actuals')
