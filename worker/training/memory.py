"""Memory that this process keeps: what a step frees, the next one needs again. Knows glibc, no tensor."""

import ctypes
import sys

# Numbers of malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Freed memory stays with this process; whether the C library can be told so.

    By default glibc gives large buffers back to the kernel, which clears every page when it is asked for again: with
    Deep4Net's that was a sixth of a step's time.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*pair) for pair in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER)))
