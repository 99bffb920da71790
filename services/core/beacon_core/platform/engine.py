"""What runs the work of the jobs that read the log: this process, or Apache Spark (BEACON_ENGINE).

A job cuts its work into tasks: slices of an hour, files of the lake, blocks of a table. A function makes Arrow tables
or profiles of each. The engine runs it, and gives the results in the order of the tasks, so that whoever joins them
gets the same wherever they were made. Function, tasks and results go to other processes: each can be pickled.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import entry_points
from typing import Protocol, TypeVar

from beacon_core.platform.settings import Settings, SettingsError

ENGINES = "beacon.engines"
"""The entry points of engines: functions of the settings and the job's name, whose context is the engine."""
TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


class JobEngine(Protocol):
    """Runs tasks."""

    def run(self, function: Callable[[TaskT], Iterable[ResultT]], tasks: Iterable[TaskT], /) -> Iterator[ResultT]:
        """Yield all that the function gives for each task, in the order of the tasks; raises what it raises.

        Tasks are taken as they are needed: neither they nor the results are in memory all at once.
        """


class LocalEngine:
    """Runs one task after the other, in this process."""

    def run(self, function: Callable[[TaskT], Iterable[ResultT]], tasks: Iterable[TaskT], /) -> Iterator[ResultT]:
        """Yield all that the function gives for each task."""
        for task in tasks:
            yield from function(task)


LOCAL: JobEngine = LocalEngine()
OpenEngine = Callable[[Settings, str], AbstractContextManager[JobEngine]]


@contextmanager
def open_engine(settings: Settings, job: str) -> Iterator[JobEngine]:
    """Give the engine of the settings to the job of that name; raises `SettingsError` where it is not installed."""
    if settings.engine == "local":
        yield LOCAL
        return
    found = entry_points(group=ENGINES, name=settings.engine)
    if not found:
        raise SettingsError(
            f"BEACON_ENGINE is {settings.engine}, which this environment has not got: run the job in "
            f".venvs/{settings.engine} (`make .venvs/{settings.engine}.stamp`), or in the image of it"
        )
    open_it: OpenEngine = next(iter(found)).load()
    with open_it(settings, job) as engine:
        yield engine
