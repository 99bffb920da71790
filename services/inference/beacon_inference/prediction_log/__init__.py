"""The prediction log: append to a spool, ship to the database, find by id."""
