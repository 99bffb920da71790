"""Create the ledger of promotions, and hold it append-only in the database itself."""

import sqlalchemy as sa
from alembic import op
from beacon_core.data.tables import Json, UtcTime

revision = '0006'
down_revision = '0005'

RULE = 'the ledger is append-only'


def upgrade() -> None:
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
    if op.get_bind().dialect.name == 'sqlite':
        for change in ('UPDATE', 'DELETE'):
            op.execute(f"CREATE TRIGGER promotions_no_{change.lower()} BEFORE {change} ON promotions "
                       f"BEGIN SELECT RAISE(ABORT, '{RULE}'); END")
        return
    op.execute(f"CREATE FUNCTION promotions_append_only() RETURNS trigger LANGUAGE plpgsql AS "
               f"$$ BEGIN RAISE EXCEPTION '{RULE}'; END $$")
    op.execute('CREATE TRIGGER promotions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON promotions '
               'FOR EACH STATEMENT EXECUTE FUNCTION promotions_append_only()')


def downgrade() -> None:
    op.drop_table('promotions')
    if op.get_bind().dialect.name != 'sqlite':
        op.execute('DROP FUNCTION promotions_append_only')
