"""The job's program."""
