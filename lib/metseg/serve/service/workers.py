"""Several processes of one service: one that dies is replaced, unless they all do, one after the other."""

import logging
import signal
import time
from collections import deque
from contextlib import suppress

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from metseg.base.errors import MetsegError

MOST_DEATHS, _WITHIN_SECONDS = 5, 60.0
_log = logging.getLogger("metseg.serve")


class Workers(Multiprocess):
    """uvicorn's supervisor, which would replace processes that die at once for ever, and say nothing of why.

    A process takes requests when its models are loaded, not before; those of the dead one wait in the queue
    of the address that all listen on.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)
        self._failed = ""

    def run(self) -> None:
        """Runs until it is told to end.

        Raises:
            MetsegError: Processes died one after the other, or cannot begin.
        """
        super().run()
        if self._failed:
            raise MetsegError(self._failed)

    def keep_subprocess_alive(self) -> None:
        before = list(self.processes)
        super().keep_subprocess_alive()
        for old, new in zip(before, self.processes, strict=True):
            if old is new and old.exitcode != STARTUP_FAILURE:
                continue
            why = _reason(old)
            if old is new:
                self._failed = "a process of the service cannot begin; what it said stands above"
                continue
            _log.warning("a process of the service ended (%s) and is replaced", why)
            self._deaths.append(time.monotonic())
            if len(self._deaths) == MOST_DEATHS and self._deaths[-1] - self._deaths[0] < _WITHIN_SECONDS:
                self.should_exit.set()
                self._failed = (
                    f"{MOST_DEATHS} processes of the service ended within a minute, the last by {why}; "
                    "see that memory and the disk for temporary files suffice, or give fewer --workers"
                )


def _reason(process: Process) -> str:
    with suppress(ValueError, TypeError):
        return signal.Signals(-process.exitcode).name
    return f"exit code {process.exitcode}"
