"""Keeps an idle server small: on a box with 4 GB what nobody uses should not be there.

glibc keeps freed memory for the next request of the same size, and a start has peaks that never
come again. Libraries bring others along that a server has no use for.
"""

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Import modules without what they would use if it were installed.

    Within the block an import of these fails as if they were not; afterwards they can be imported
    as ever. One that is loaded already stays as it is.

    Args:
        names: Modules that whoever imports them can do without.
    """
    hidden = [name for name in names if name not in sys.modules]
    # Python's own way to say "not there".
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


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
