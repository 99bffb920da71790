"""The recording of the first ten minutes: `make recording`."""
