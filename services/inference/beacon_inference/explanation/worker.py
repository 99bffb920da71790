"""The process that explains: `python -m beacon_inference.explanation.worker`, jobs on stdin, answers on stdout.

It has a low priority, so that predictions come first; where memory ends, it is the one that is killed. It ends with
inference: its stdin ends then. It holds what the newest models need.
"""

import contextlib
import os
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from beacon_core.domain.masking import message_with_type
from beacon_core.model_package.explanation.explainer import Explainer
from beacon_core.model_package.manifest import PackageError, read_package
from beacon_core.platform.framing import LENGTH, framed
from beacon_core.platform.memory import release_freed_memory
from beacon_inference.explanation.job import Answer, Job, decode_job, encode

MODELS = 2
"""Models that are held: that of new predictions, and one of old ones."""
NICENESS = 10


class Explainers:
    """The explainers of the newest packages."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Explainer] = OrderedDict()

    def answer(self, job: Job) -> Answer:
        """Explain a job's rows; a failure is an answer, too."""
        began = time.perf_counter()
        try:
            explainer = self._of(job)
        except PackageError as error:
            return Answer(failure="package", reason=str(error))
        try:
            found = [explainer.explain(np.array(row), job.seconds) for row in job.rows]
        except Exception as error:  # noqa: BLE001 - the next job may be another one
            return Answer(failure="explanation", reason=message_with_type(error))
        return Answer(explainer.players, explainer.is_log, found, seconds=time.perf_counter() - began)

    def _of(self, job: Job) -> Explainer:
        found = self._held.pop(job.sha256, None)
        if found is None:
            found = Explainer(read_package(Path(job.folder), job.sha256))
            release_freed_memory()
        self._held[job.sha256] = found
        while len(self._held) > MODELS:
            self._held.popitem(last=False)
        return found


def run(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Answer jobs, one after the other, until there are no more."""
    explainers = Explainers()
    while len(head := jobs.read(LENGTH.size)) == LENGTH.size:
        job = decode_job(jobs.read(LENGTH.unpack(head)[0]))
        answers.write(framed(encode(explainers.answer(job))))
        answers.flush()


def main() -> None:
    """Run on stdin and stdout; what a library prints goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError):  # Linux alone has it
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        run(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
