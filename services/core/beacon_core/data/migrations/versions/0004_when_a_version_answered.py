"""Index the predictions by model version and time, so that the console finds since when a version answers."""

from alembic import op

revision = '0004'
down_revision = '0003'


def upgrade() -> None:
    op.create_index('ix_predictions_model_version_time', 'predictions', ['model_version', 'time'])


def downgrade() -> None:
    op.drop_index('ix_predictions_model_version_time', 'predictions')
