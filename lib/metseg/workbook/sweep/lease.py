"""Who runs a study that several machines can reach; a lock on a folder would not keep them apart."""

import os
import socket
import time

import optuna
import psutil

from metseg.base.errors import MetsegError

_SECONDS = 60


class Lease:
    """Holds a study for this process as long as `keep` is called every few seconds.

    Raises:
        MetsegError: Another process, which may live, has held it within the last minute.
    """

    def __init__(self, study: optuna.Study):
        self._study, self._kept = study, float("-inf")
        held = study.user_attrs.get("coordinator")
        if held and time.time() - held["seen"] < _SECONDS:
            here, pid = held["host"] == socket.gethostname(), held["pid"]
            if not here or (pid != os.getpid() and psutil.pid_exists(pid)):
                raise MetsegError(
                    f"the study '{study.study_name}' is run by process {pid} on {held['host']}; wait for it, "
                    f"or {_SECONDS} s after it was killed"
                )
        self.keep()

    def keep(self) -> None:
        """Tells other coordinators that this one is alive."""
        if time.monotonic() - self._kept > _SECONDS / 4:
            self._kept = time.monotonic()
            known = {"host": socket.gethostname(), "pid": os.getpid(), "seen": time.time()}
            self._study.set_user_attr("coordinator", known)

    def release(self) -> None:
        """Lets another coordinator have the study at once."""
        self._study.set_user_attr("coordinator", None)
