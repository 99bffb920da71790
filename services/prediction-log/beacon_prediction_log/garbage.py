"""When Python looks for garbage: between chunks. A chunk makes hundreds of thousands of objects, and no garbage."""

import gc

AMID_OBJECTS = 1_000_000
"""After so many new objects it looks in any case."""
BETWEEN_OBJECTS = 10_000
"""With so many more objects than at the last look, it looks after a chunk."""


def look_between_chunks() -> None:
    """Have this process look for garbage when `look` is called, and by itself only when very much came up."""
    gc.set_threshold(AMID_OBJECTS)


def look() -> None:
    """Look now, if a chunk left so many objects behind that some may be garbage."""
    if gc.get_count()[0] >= BETWEEN_OBJECTS:
        gc.collect()
