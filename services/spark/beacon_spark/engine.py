"""The engine `spark`: tasks of a job as tasks of Spark, by the entry point `beacon.engines`.

Spark gives out the tasks and does them again where a worker is lost. What is in them is the jobs' own: the same
functions of Arrow tables run here and in one process. So workers need the environment of this room, and read the lake
themselves.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.platform.settings import Settings
from beacon_spark.session import SparkUnavailableError, open_session
from beacon_spark.tasks import results_of, run_task

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
TASKS_PER_CORE = 4
"""Tasks of one round: with more the results of more are in memory at once, with fewer cores wait for the last."""
LAST_LINES = 3


class SparkTasksError(Exception):
    """Spark did not bring the tasks to their end; the message has the end of what it said."""

    exit_status = TRY_AGAIN


class SparkEngine:
    """Runs tasks in rounds, each a job of Spark."""

    def __init__(self, session: SparkSession) -> None:
        self._context = session.sparkContext
        self._round = TASKS_PER_CORE * max(self._context.defaultParallelism, 1)

    def run(self, function: Callable[[TaskT], Iterable[ResultT]], tasks: Iterable[TaskT], /) -> Iterator[ResultT]:
        """Yield all that the function gives for each task, in the order of the tasks; raises what it raises."""
        call = partial(run_task, pickle.dumps(function, pickle.HIGHEST_PROTOCOL))
        given = iter(tasks)
        while some := [pickle.dumps(task, pickle.HIGHEST_PROTOCOL) for task in islice(given, self._round)]:
            for packed in self._collected(call, some):
                yield from results_of(packed)

    def _collected(self, call: Callable[[bytes], bytes], tasks: list[bytes]) -> list[bytes]:
        try:
            found: list[bytes] = self._context.parallelize(tasks, len(tasks)).map(call).collect()
        except (PySparkException, Py4JError) as error:
            lines = [line for line in str(error).strip().splitlines() if line.strip() and not line.startswith("\tat ")]
            raise SparkTasksError(f"Spark ended the tasks: {' / '.join(lines[:1] + lines[-LAST_LINES:])}") from error
        return found


@contextmanager
def open_engine(settings: Settings, job: str) -> Iterator[SparkEngine]:
    """Give an engine on a session under the job's name; raises `SettingsError` and `SparkUnavailableError`."""
    with open_session(settings, job) as session:
        yield SparkEngine(session)


__all__ = ["SparkEngine", "SparkTasksError", "SparkUnavailableError", "open_engine"]
