"""The process in which a foreign model is converted and tried: `python -m beacon_retraining.foreign.worker FOLDER`."""

import resource
import sys
from pathlib import Path

import msgspec
import numpy as np

from beacon_retraining.errors import ForeignModelError
from beacon_retraining.foreign import sandbox
from beacon_retraining.foreign.sandbox import Limits, SandboxTask
from beacon_retraining.packaging.conversion.facts import ModelFacts


def main(folder: Path) -> int:
    """Do the task of `folder`; a refusal is written there."""
    task = msgspec.json.decode((folder / sandbox.TASK).read_bytes(), type=SandboxTask)
    _limit(task.limits)
    try:
        facts = _convert(task, folder) if task.action == "convert" else _try(folder)
    except ForeignModelError as error:
        (folder / sandbox.REFUSAL).write_text(str(error), encoding="utf-8")
        return 1
    except MemoryError:
        gigabytes = task.limits.memory >> 30
        (folder / sandbox.REFUSAL).write_text(f"needs more memory than {gigabytes} GiB", encoding="utf-8")
        return 1
    (folder / sandbox.RESULT).write_bytes(msgspec.json.encode(facts))
    return 0


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file, limits.file))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _convert(task: SandboxTask, folder: Path) -> ModelFacts:
    from beacon_retraining.packaging.conversion.convert import convert  # noqa: PLC0415 - the limits hold before any library is loaded

    converted = convert(task.kind, Path(task.file), task.columns, np.load(folder / sandbox.NUMBERS))
    (folder / sandbox.MODEL).write_bytes(converted.content)
    np.save(folder / sandbox.ANSWERS, converted.answers)
    return converted.facts


def _try(folder: Path) -> ModelFacts:
    """Run the wrapped graph."""
    from beacon_retraining.packaging.conversion.trial import try_graph  # noqa: PLC0415 - as above

    np.save(
        folder / sandbox.ANSWERS,
        try_graph((folder / sandbox.MODEL).read_bytes(), np.load(folder / sandbox.NUMBERS)),
    )
    return ModelFacts()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
