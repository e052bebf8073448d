"""What a log may say of a fault: its kind and where it was, never its text, which may quote an upload."""

import errno
import tempfile
import traceback

from metseg.base.errors import MetsegError

NO_ROOM = "The disk for temporary files is full; tell who runs this, or try again in a minute"
_LEAST_BYTES = 2**20


def where(error: BaseException) -> str:
    """Returns an exception's type, its cause's if it tells one, and the frames it came through."""
    kinds = [type(each).__name__ for each in (error, error.__cause__) if each is not None]
    return f"{' from '.join(kinds)} at\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()


def is_full(error: OSError) -> bool:
    """Returns whether there was no room left on a disk."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def check_room() -> None:
    """Raises a `MetsegError` where nothing can be written to the disk for temporary files."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(_LEAST_BYTES))
    except OSError as error:
        raise MetsegError(
            f"nothing can be written to the disk for temporary files ({error.strerror}); "
            "make room, or name another folder in TMPDIR"
        ) from None
