"""The command `beacon`, and the jobs that more than one image runs."""
