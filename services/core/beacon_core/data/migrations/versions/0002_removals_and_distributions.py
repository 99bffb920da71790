"""Create the audit trail of what was deleted, which triggers keep append-only, and keep distributions of drift runs.

SQLite drops a trigger with its table: a migration that copies `data_removals` must create it again.
"""

import sqlalchemy as sa
from alembic import op
from beacon_core.data.tables import Json, JsonOrNull, UtcTime

revision = '0002_removals_and_distributions'
down_revision = '0001_tables'

RULE = 'the audit trail of removals is append-only'


def upgrade() -> None:
    op.add_column('drift_runs', sa.Column('distributions', JsonOrNull, nullable=True))
    op.create_table('data_removals',
    sa.Column('id', sa.Integer(), autoincrement=True, nullable=False),
    sa.Column('run', sa.String(length=64), nullable=False),
    sa.Column('moment', UtcTime, nullable=False),
    sa.Column('product', sa.String(length=63), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('outcome', sa.String(length=16), nullable=False),
    sa.Column('actor', sa.String(length=64), nullable=False),
    sa.Column('reason', sa.String(), nullable=False),
    sa.Column('subject', Json, nullable=False),
    sa.Column('removed', Json, nullable=False),
    sa.Column('remains', Json, nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_data_removals_moment', 'data_removals', ['moment'])
    if op.get_context().dialect.name == 'postgresql':
        op.execute("CREATE FUNCTION data_removals_append_only() RETURNS trigger LANGUAGE plpgsql AS "
                   f"$$ BEGIN RAISE EXCEPTION '{RULE}'; END $$")
        op.execute('CREATE TRIGGER data_removals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON data_removals '
                   'FOR EACH STATEMENT EXECUTE FUNCTION data_removals_append_only()')
        return
    for change in ('UPDATE', 'DELETE'):
        op.execute(f"CREATE TRIGGER data_removals_no_{change.lower()} BEFORE {change} ON data_removals "
                   f"BEGIN SELECT RAISE(ABORT, '{RULE}'); END")


def downgrade() -> None:
    op.drop_column('drift_runs', 'distributions')
    op.drop_table('data_removals')
    if op.get_context().dialect.name == 'postgresql':
        op.execute('DROP FUNCTION data_removals_append_only')
