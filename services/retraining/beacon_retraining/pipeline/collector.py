"""Python's garbage collector in a process that lives for one stage or one command of DVC."""

import atexit
import gc

OBJECTS = 10_000


def collect_rarely() -> None:
    """Collect after every 10,000 new objects (Python: 700), and not at the end of the process.

    Loading pandas, scikit-learn and DVC makes a million objects, and all of them stay. Walking them again and again as
    they come, and once more at the end, is a quarter of the processor time of a stage.
    """
    gc.set_threshold(OBJECTS)
    atexit.register(gc.freeze)
