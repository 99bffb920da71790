"""Index predictions and actuals by entity and time: which actual belongs to which prediction is asked for every row."""

from alembic import op

revision = '0005'
down_revision = '0004'


def upgrade() -> None:
    op.drop_index('ix_predictions_entity', 'predictions')
    op.create_index('ix_predictions_entity_time', 'predictions', ['entity', 'time'])
    op.drop_index('ix_actuals_entity', 'actuals')
    op.create_index('ix_actuals_entity_observed_at', 'actuals', ['entity', 'observed_at'])


def downgrade() -> None:
    op.drop_index('ix_actuals_entity_observed_at', 'actuals')
    op.create_index('ix_actuals_entity', 'actuals', ['entity'])
    op.drop_index('ix_predictions_entity_time', 'predictions')
    op.create_index('ix_predictions_entity', 'predictions', ['entity'])
