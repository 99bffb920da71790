"""The head and the body of an answer leave in one call, and whatever comes behind them at once."""

from typing import Any

from beacon_core.web.connection import Answer


class Calls:
    """A transport that keeps what each call hands over."""

    def __init__(self) -> None:
        self.made: list[tuple[bytes, ...]] = []

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.made.append(parts)

    def close(self) -> None:
        self.made.append(())


def made(*written: bytes) -> Any:
    calls = Calls()
    answer = Answer(calls)
    for data in written:
        answer.write(data)
    answer.close()
    return calls.made


def test_an_answer_is_one_call() -> None:
    assert made(b"head", b"body") == [(b"head", b"body"), ()]


def test_an_empty_body_sends_the_head() -> None:
    assert made(b"head", b"") == [(b"head", b""), ()]


def test_the_parts_of_a_longer_answer_do_not_wait() -> None:
    assert made(b"head", b"one", b"two") == [(b"head", b"one"), (b"", b"two"), ()]
