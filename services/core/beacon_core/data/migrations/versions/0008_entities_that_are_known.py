"""Index only the predictions that have an entity: most have none, and every row paid for its place in the index."""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'

KNOWN = sa.text('entity IS NOT NULL')


def upgrade() -> None:
    if op.get_context().dialect.name == 'postgresql':
        op.execute("SET LOCAL statement_timeout = 0")
    op.drop_index('ix_predictions_entity_time', 'predictions')
    op.create_index(
        'ix_predictions_entity_time', 'predictions', ['entity', 'time'], postgresql_where=KNOWN, sqlite_where=KNOWN
    )


def downgrade() -> None:
    op.drop_index('ix_predictions_entity_time', 'predictions')
    op.create_index('ix_predictions_entity_time', 'predictions', ['entity', 'time'])
