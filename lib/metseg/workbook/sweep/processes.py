"""All processes of a trial, known by a mark in their environment that children inherit.

A process group would not do: a kernel leads a session of its own, and whoever was killed leaves children
without a parent.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "METSEG_TRIAL"  # its value is the trial's folder


def end_processes(folder: Path) -> None:
    """Ends all processes of the trial of a folder on this machine."""
    for _ in range(3):  # again, for what was just being started
        found = list(_processes(folder))
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        if not found:
            return
        psutil.wait_procs(found, timeout=2)


def memory_held(folder: Path) -> int:
    """Returns the bytes that the processes of a trial hold, mapped files such as the cache aside."""
    total = 0
    for process in _processes(folder):
        with suppress(psutil.Error):
            held = process.memory_info()
            total += held.rss - getattr(held, "shared", 0)  # not told everywhere
    return total


def _processes(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == str(folder):
                yield process
