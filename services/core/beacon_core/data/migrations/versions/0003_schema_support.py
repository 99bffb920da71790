"""Create the table that says which code may use the schema."""

import sqlalchemy as sa
from alembic import op

revision = '0003_schema_support'
down_revision = '0002_removals_and_distributions'


def upgrade() -> None:
    op.create_table('schema_support',
    sa.Column('oldest_code', sa.String(length=32), nullable=False),
    sa.PrimaryKeyConstraint('oldest_code')
    )


def downgrade() -> None:
    op.drop_table('schema_support')
