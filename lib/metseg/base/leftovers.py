"""What killed processes leave half-written, and how it is told from what is being written."""

import os
import re
from contextlib import suppress
from pathlib import Path

_PARTIAL = re.compile(r"\.(\d+)\..+")
being_written = set[Path]()  # by this process


def remove_leftovers(folder: Path) -> None:
    """Removes what `files.replacing` left below a folder as its process was killed, none of a living one."""
    for home, _, names in os.walk(folder):
        for path in filter(is_left, (Path(home, name) for name in names)):
            with suppress(OSError):
                path.unlink()


def is_left(path: Path) -> bool:
    """Returns whether a name is that of a partial file or folder (`.PID.NAME`) whose process is dead."""
    if not (found := _PARTIAL.fullmatch(path.name)):
        return False
    import psutil  # here: a prediction meets none

    if (pid := int(found[1])) == os.getpid():  # in a container every start has the same number
        return path.absolute() not in being_written
    return not psutil.pid_exists(pid)
