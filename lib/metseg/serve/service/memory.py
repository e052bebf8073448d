"""What the service has freed goes back to the system."""

import ctypes
from contextlib import suppress


def give_back_memory() -> None:
    """Hands freed memory to the system; does nothing where the C library is not glibc.

    glibc has an arena for each thread, up to eight a core. In each it keeps what lies below a block in use,
    and once large blocks were freed megabytes above that: about the most that its threads ever held at once.
    See mallopt(3), M_ARENA_MAX and M_TRIM_THRESHOLD.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
