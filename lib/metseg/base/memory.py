"""What is freed is kept for the next batch of a training, and given back to the system by a service.

Kept, for Linux fills each page with zeros when it hands it out again: 30 % of a training on two cores.
"""

import ctypes
import os
from contextlib import suppress

ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
# malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def keep_freed_memory() -> bool:
    """Has glibc keep the memory that this process frees, and returns whether it did.

    Not where there is no glibc, or the environment has settings of its own. To be called before threads are
    started: those that run already, as in a Jupyter kernel, keep arenas of their own, which `ONE_ARENA` in
    the environment of a process prevents.
    """
    own = {name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))} - ONE_ARENA.keys()
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS; musl; Windows
        return False
    # -1: nothing is too large to be kept.
    options = {_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1, _M_TOP_PAD: 2**26}
    return not own and all([mallopt(option, value) for option, value in options.items()])


def give_back_memory() -> None:
    """Hands freed memory to the system; does nothing where the C library is not glibc.

    glibc has an arena for each thread, up to eight a core. In each it keeps what lies below a block in use,
    and once large blocks were freed megabytes above that: about the most that its threads ever held at once.
    See mallopt(3), M_ARENA_MAX and M_TRIM_THRESHOLD.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
