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
        self._asked: dict[Process, float] = {}  # when, of those that did not answer yet
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
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.process.is_alive() and self._answers(process):
                continue
            process.kill()  # one that hangs
            process.join()
            self._asked.pop(process, None)
            if process.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
                self._failed = "a process of the service cannot begin; what it said stands above"
                return
            why = _reason(process)
            _log.warning("a process of the service ended (%s) and is replaced", why)
            self._deaths.append(time.monotonic())
            if len(self._deaths) == MOST_DEATHS and self._deaths[-1] - self._deaths[0] < _WITHIN_SECONDS:
                self.should_exit.set()
                self._failed = (
                    f"{MOST_DEATHS} processes of the service ended within a minute, the last by {why}; "
                    "see that memory and the disk for temporary files suffice, or give fewer --workers"
                )
                return
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()

    def _answers(self, process: Process) -> bool:
        """Tells whether a process answers in time; uvicorn waits for one that died meanwhile, too."""
        now, line = time.monotonic(), process.parent_conn
        try:
            if line.poll(0):
                line.recv()
                self._asked.pop(process, None)
            if process not in self._asked:
                line.send(b"ping")
                self._asked[process] = now
        except (OSError, EOFError):
            return False
        return now - self._asked[process] < self.config.timeout_worker_healthcheck


def _reason(process: Process) -> str:
    with suppress(ValueError, TypeError):
        return signal.Signals(-process.exitcode).name
    return f"exit code {process.exitcode}"
