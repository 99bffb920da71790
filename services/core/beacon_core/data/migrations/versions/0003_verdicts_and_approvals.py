"""Create the verdicts of the gate and the approvals of people."""

import sqlalchemy as sa
from alembic import op
from beacon_core.data.tables import Json, UtcTime

revision = '0003'
down_revision = '0002'


def upgrade() -> None:
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
    with op.batch_alter_table('verdicts') as batch_op:
        batch_op.create_index(batch_op.f('ix_verdicts_moment'), ['moment'], unique=False)
        batch_op.create_index(batch_op.f('ix_verdicts_sha256'), ['sha256'], unique=False)
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
    with op.batch_alter_table('approvals') as batch_op:
        batch_op.create_index(batch_op.f('ix_approvals_sha256'), ['sha256'], unique=False)


def downgrade() -> None:
    op.drop_table('approvals')
    op.drop_table('verdicts')
