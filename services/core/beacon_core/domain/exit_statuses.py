"""Exit statuses of jobs: 0 for success, else what a retry would do.

Beacon's errors have their status in the attribute `exit_status`; platform/job.py has a table for those of libraries.
"""

REFUSED = 1
"""The job failed, and a retry will fail too."""
BAD_DATA = 65
"""The data break a rule (EX_DATAERR)."""
TRY_AGAIN = 75
"""A retry may help: a dependency is down, or another run holds the lock (EX_TEMPFAIL)."""
