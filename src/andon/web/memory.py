"""Gives memory that starting needed for a moment back to the system.

glibc keeps freed memory for the next request of the same size; a start has peaks that never
come again, and on a box with 4 GB an idle server should be small.
"""

import ctypes
import gc


def give_back() -> None:
    """Return free heap pages to the system; nothing happens where the C library cannot.

    What is alive now lives as long as the server: the garbage collector need not look at it
    again, which keeps its full passes short.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
