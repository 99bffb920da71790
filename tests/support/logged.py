"""What inference has logged, read from its database."""

from pathlib import Path

from sqlalchemy import select

from beacon_core.data.database import open_store
from beacon_core.data.tables import predictions


def logged_ids(database: Path) -> list[str]:
    """Ids of the predictions in a SQLite database, one for each row."""
    engine = open_store(f"sqlite:///{database}")
    with engine.connect() as connection:
        found = connection.execute(select(predictions.c.id)).scalars().all()
    engine.dispose()
    return list(found)
