"""How much room the database takes."""

from sqlalchemy import Connection, func, select, text


def database_bytes(connection: Connection) -> float:
    """Bytes on disk of all tables and indexes; of SQLite without the write-ahead log."""
    if connection.dialect.name == "postgresql":
        return float(connection.scalar(select(func.pg_database_size(func.current_database()))) or 0)
    pages, size = (connection.scalar(text(f"PRAGMA {name}")) or 0 for name in ("page_count", "page_size"))
    return float(pages) * float(size)
