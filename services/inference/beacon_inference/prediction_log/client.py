"""Questions to the prediction log's process, on its socket: what it does not answer in time is unavailable."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from beacon_core.domain.actuals import Actual
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_with_type
from beacon_core.platform.framing import framed, read_frame
from beacon_core.spool.messages import (
    AddActuals,
    Added,
    Answer,
    Find,
    FoundRecords,
    Question,
    Unavailable,
    decode_answer,
    encode,
    socket_path,
)
from beacon_core.web.timeouts import tick_timeout

log = logging.getLogger(__name__)
T = TypeVar("T")

ANSWER_SECONDS = 12.0
"""Longer than the process waits for its database."""
SILENT_SECONDS = 10.0
"""A process that is away is logged so often."""
MOST_AT_ONCE = 8
"""Further questions wait for their turn: the process has a thread for each."""


class LogUnavailableError(BeaconError):
    """The prediction log cannot be asked now."""

    def __init__(self, message: str) -> None:
        super().__init__("prediction_log_unavailable", message)


class LogClient:
    """Asks the process whose socket lies in the spool's folder, from the event loop; raises LogUnavailableError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._silent_until = 0.0

    def attach(self) -> None:
        """Ask from the running loop, for `wait`."""
        self._loop = asyncio.get_running_loop()

    def wait(self, asked: Coroutine[Any, Any, T]) -> T:
        """Wait for an answer in another thread than the event loop's."""
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    async def find(self, ids: Sequence[str], *, actuals: bool = False, seconds: float = ANSWER_SECONDS) -> FoundRecords:
        """Find those of the predictions that are there, and with `actuals` the newest actual of each."""
        answer = await self._ask(Find(list(ids), actuals), seconds)
        assert isinstance(answer, FoundRecords)  # noqa: S101 - the answer to this question
        return answer

    async def add_actuals(self, items: Sequence[Actual]) -> Added:
        """Store actuals, all or none."""
        answer = await self._ask(AddActuals(list(items)), ANSWER_SECONDS)
        assert isinstance(answer, Added)  # noqa: S101 - as above
        return answer

    async def _ask(self, question: Question, seconds: float) -> Answer:
        try:
            async with tick_timeout(seconds), self._turns:
                answer = await self._exchange(encode(question))
        except (OSError, EOFError, msgspec.DecodeError) as error:  # TimeoutError is an OSError
            self._tell(error)
            raise LogUnavailableError("the prediction log does not answer") from error
        if isinstance(answer, Unavailable):
            raise LogUnavailableError("the prediction log's database does not answer")
        return answer

    def _tell(self, error: Exception) -> None:
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + SILENT_SECONDS
            log.warning("the prediction log's process does not answer", extra={"reason": message_with_type(error)})

    async def _exchange(self, content: bytes) -> Answer:
        reader, writer = await asyncio.open_unix_connection(socket_path(self._folder))
        try:
            writer.write(framed(content))
            await writer.drain()
            return decode_answer(await read_frame(reader))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
