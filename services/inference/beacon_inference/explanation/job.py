"""What inference and the process that explains say to each other: msgpack, each message behind its length."""

from typing import Literal

import msgspec

from beacon_core.model_package.explanation.explainer import Explanation


class Job(msgspec.Struct, frozen=True):
    """Complete rows of a model's features to explain, by the package in `folder`; ages are counted to `seconds`."""

    folder: str
    sha256: str
    rows: list[list[float]]
    seconds: float


class Answer(msgspec.Struct, frozen=True):
    """The explanations of a job's rows: contributions of `players`; or why there are none.

    `failure` says whether the package or the explanation is to blame. `seconds` is the time that it took.
    """

    players: tuple[str, ...] = ()
    is_log: bool = False
    explanations: list[Explanation] = []
    failure: Literal["", "package", "explanation"] = ""
    reason: str = ""
    seconds: float = 0.0


encode = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
