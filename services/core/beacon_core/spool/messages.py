"""What inference and the prediction log's process say to each other: msgpack, each message framed, on a Unix socket.

The socket lies in the folder of the spool. A connection is for one question and its answer.
"""

import os
from pathlib import Path

import msgspec

from beacon_core.domain.actuals import Actual, LoggedActual, Outcome
from beacon_core.spool.record import Record

SOCKET = "log.sock"
MOST_PATH_BYTES = 100
"""A socket's path has about 100 bytes at most; where that is too few, a link in the folder names another place."""


class Find(msgspec.Struct, frozen=True, tag=True):
    """Find predictions; with `actuals`, the newest actual of each, too."""

    ids: list[str]
    actuals: bool = False


class AddActuals(msgspec.Struct, frozen=True, tag=True):
    """Store actuals, all or none."""

    items: list[Actual]


class FoundRecords(msgspec.Struct, frozen=True, tag=True):
    """The predictions that are there, each as a record of its own, and the actuals that are known."""

    records: dict[str, Record]
    actuals: dict[str, LoggedActual] = {}


class Added(msgspec.Struct, frozen=True, tag=True):
    """What became of each actual; where one names a prediction that is not there, its place, and nothing is stored."""

    outcomes: list[Outcome] = []
    unknown: int | None = None


class Unavailable(msgspec.Struct, frozen=True, tag=True):
    """There is no answer now: the database does not answer."""


Question = Find | AddActuals
Answer = FoundRecords | Added | Unavailable

encode = msgspec.msgpack.Encoder().encode
_questions: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
decode_question, decode_answer = _questions.decode, _answers.decode


def is_too_long(path: Path) -> bool:
    """Whether a socket cannot have this path."""
    return len(os.fsencode(path)) > MOST_PATH_BYTES


def socket_path(folder: Path) -> str:
    """Where the socket of a spool's folder is to be reached."""
    path = folder / SOCKET
    return str(path.resolve() if is_too_long(path) else path)
