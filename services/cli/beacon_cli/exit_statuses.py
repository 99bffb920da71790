"""The exit statuses of all commands, and what each of them asks of a person; a test holds them to those of core."""

DONE = 0
REFUSED = 1
USAGE = 2
NONE_YET = 3
BAD_DATA = 65
TRY_AGAIN = 75
INTERRUPTED = 130

MEANINGS = {
    DONE: "done, or nothing to do",
    REFUSED: "refused or failed, and a second try will fail too; of `doctor`: something is broken",
    USAGE: "the arguments make no sense, or `run` cannot start with these settings",
    NONE_YET: "of `champion`: the registry has none yet",
    BAD_DATA: "the data or the request breaks a rule, which the message names",
    TRY_AGAIN: "try again later: something does not answer, or another run is at work",
    INTERRUPTED: "stopped by Ctrl-C",
}

HINTS = {
    BAD_DATA: "`beacon check` lists all that is wrong with a product and its data",
    TRY_AGAIN: "try again; `beacon doctor` says what does not answer",
}
"""A further line on a terminal, by the status with which a checkout's command ended."""
