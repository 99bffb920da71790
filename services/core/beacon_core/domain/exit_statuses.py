"""How a job ends: 0 when it is done, else by what the next try would meet.

An error of ours has the status in its attribute `exit_status`; those of libraries have a table in
platform/job.py.
"""

REFUSED = 1
"""It is not done, and the same again will not be."""
BAD_DATA = 65
"""The data break a rule (EX_DATAERR)."""
TRY_AGAIN = 75
"""Trying again later may help: something is away, or another run is at work (EX_TEMPFAIL)."""
