"""Delete what shards of drift profiling left: slices of hours that were to be joined, and how far each shard had read.

Slices wait where a run was killed before it joined them. The watermark of all shards may be past them by then, so it
goes back to the first of their hours, whose profiles the next run makes anew.
"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from beacon_core.data.tables import Json, UtcTime
from beacon_core.domain.times import read_time

revision = '0004_no_shards'
down_revision = '0003_schema_support'

ALL_SHARDS = 'profile'
profiles = sa.table('profiles', sa.column('hour', UtcTime), sa.column('segment', sa.String))
watermarks = sa.table('watermarks', sa.column('job', sa.String), sa.column('position', Json))


def upgrade() -> None:
    connection = op.get_bind()
    slices = profiles.c.segment.startswith('slice/')
    first = connection.scalar(sa.select(sa.func.min(profiles.c.hour)).where(slices))
    if first is not None:
        _read_from(connection, first)
        connection.execute(sa.delete(profiles).where(slices))
    connection.execute(sa.delete(watermarks).where(watermarks.c.job.startswith(f'{ALL_SHARDS}/')))


def _read_from(connection: sa.Connection, first: datetime) -> None:
    own = watermarks.c.job == ALL_SHARDS
    position = connection.scalar(sa.select(watermarks.c.position).where(own))
    if position and position.get('logged_at') and read_time(position['logged_at']) > first:
        position = position | {'logged_at': first.isoformat()}
        connection.execute(sa.update(watermarks).where(own).values(position=position))


def downgrade() -> None:
    """What is deleted is made anew: there is nothing to bring back."""
