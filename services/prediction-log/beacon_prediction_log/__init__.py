"""The prediction log's process: ships the spool to the database, and answers inference on a socket."""
