"""The command line `beacon`: a client of a running Beacon, and the front of a checkout's commands."""
