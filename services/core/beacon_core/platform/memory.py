"""What a process keeps of the memory that it no longer uses."""

import ctypes


def release_freed_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc's malloc_trim; elsewhere nothing happens).

    To load a model of 15 MB, ONNX Runtime takes 160 MB, and needs 60 of them afterwards: the rest would stay with the
    process for good, and count as the model's.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
