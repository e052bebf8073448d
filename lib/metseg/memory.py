"""What is freed is kept for the next batch, not given back to the system.

glibc gives large blocks back as soon as they are freed, and Linux fills every page with zeros when it hands
it out again: in a training that is gigabytes a second, and a third of a core's time or more.
"""

import ctypes

# malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def keep_freed_memory() -> bool:
    """Has glibc keep the memory that this process frees; returns False where malloc is another.

    The process then stays as large as it ever was. To be called before threads are started: one arena for all
    of them, for those of other threads are small and are given back whatever is asked of them.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS; musl; Windows
        return False
    options = {_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 2**26}
    return all([mallopt(option, value) for option, value in options.items()])
