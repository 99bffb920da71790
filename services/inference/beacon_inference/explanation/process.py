"""The process that explains, as inference sees it: started when it is first needed, and again after it died.

Predictions come first. The process has a low priority, but a row of explanations costs the event loop, too, and a core
that both share. So while predictions are asked for, explanations rest after each job `REST_FACTOR` times as long as it
took, as the shipper of the prediction log does.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_with_type
from beacon_core.platform.framing import framed, read_frame
from beacon_core.web.timeouts import tick_timeout
from beacon_inference.explanation.job import Answer, Job, decode_answer, encode
from beacon_inference.explanation.turns import Turns

log = logging.getLogger(__name__)

REST_FACTOR = 19
LOOP_SECONDS = 0.0005
"""What a job costs the event loop, about."""
MOST_REST_SECONDS = 1.0
JOB_SECONDS = 10.0
"""How long one job may take, the start of the process included; then the process is ended."""
STOP_SECONDS = 2.0
WORKER = "beacon_inference.explanation.worker"
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "SYSTEMROOT")
"""Variables of the environment that the process gets: no setting and no secret."""


class ExplainerProcess:
    """Hands jobs to the process, one at a time.

    `started` is called at each start; `predictions` says how many requests for predictions there were.
    """

    def __init__(
        self, started: Callable[[], None], predictions: Callable[[], int], job_seconds: float = JOB_SECONDS
    ) -> None:
        self._started = started
        self._predictions = predictions
        self._rest_until, self._seen = 0.0, 0
        self._job_seconds = job_seconds
        self._turns = Turns()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process's number while it runs."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def answer(self, job: Job) -> Answer:
        """Explain a job's rows.

        Raises BeaconError: `overloaded` where too many requests wait, `explainer_unavailable` where the process died or
        took too long.
        """
        async with self._turns.take():
            if self._predictions() != self._seen:
                await asyncio.sleep(self._rest_until - time.monotonic())
            self._seen = self._predictions()
            answer = await self._ask(job)
            rest = min(MOST_REST_SECONDS, REST_FACTOR * (answer.seconds + LOOP_SECONDS))
            self._rest_until = time.monotonic() + rest
            return answer

    async def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            await _kill(process)

    async def _ask(self, job: Job) -> Answer:
        began = time.perf_counter()
        try:
            async with tick_timeout(self._job_seconds):
                while True:
                    was_there = self.pid is not None
                    try:
                        return await self._exchange(job)
                    except (OSError, EOFError) as error:  # asyncio.IncompleteReadError is an EOFError
                        # It may have died since its last job; a new one that dies of this job is not tried again.
                        if isinstance(error, TimeoutError) or not was_there:
                            raise
        except TimeoutError:
            reason = f"took longer than {self._job_seconds:g} s"
        except (OSError, EOFError) as error:
            reason = f"ended: {message_with_type(error)}"
        seconds = time.perf_counter() - began
        log.error("the process that explains failed", extra={"reason": reason, "seconds": round(seconds, 3)})
        raise BeaconError("explainer_unavailable", "the explanation could not be made; try again")

    async def _exchange(self, job: Job) -> Answer:
        """Hand the job over and take the answer; a process that gave none, or not all of it, is ended."""
        answer: Answer | None = None
        try:
            process = await self._running()
            assert process.stdin is not None  # noqa: S101 - both are pipes
            assert process.stdout is not None  # noqa: S101 - as above
            process.stdin.write(framed(encode(job)))
            await process.stdin.drain()
            answer = decode_answer(await read_frame(process.stdout))
            return answer
        finally:
            # Also where the client went away: half an answer must not be taken for that of the next job.
            if answer is None:
                await self._end()

    async def _running(self) -> asyncio.subprocess.Process:
        process = self._process
        if process is None or process.returncode is not None:
            environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                WORKER,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
            )
            self._started()
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            await _kill(process)


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
