"""The prediction log as inference has it: append to the spool, and ask the log's process for the rest."""
