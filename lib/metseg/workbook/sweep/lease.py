"""Who runs a study that several machines can reach; a lock on a folder would not keep them apart."""

import os
import socket
import time
import uuid

import optuna
import psutil

from metseg.base.errors import MetsegError

_SECONDS = 60
_SETTLE_SECONDS = 1.0
_ENTRY = "coordinator"


def complain_if_held(study: optuna.Study) -> None:
    """Complains if another process, which may live, has held a study within the last minute.

    Raises:
        MetsegError: It has.
    """
    held = study.user_attrs.get(_ENTRY)
    if held and abs(time.time() - held["seen"]) < _SECONDS:  # a clock may be ahead
        here, pid = held["host"] == socket.gethostname(), held["pid"]
        if not here or (pid != os.getpid() and psutil.pid_exists(pid)):
            raise MetsegError(
                f"{_holder(study)}; wait for it, or {_SECONDS} s after it was killed, or give this sweep "
                "another name"
            )


class Lease:
    """Holds a study for this process as long as `keep` is called every few seconds.

    Attributes:
        study: The study; set it anew where it was written anew.

    Raises:
        MetsegError: Another process holds it, or took it at the same moment.
    """

    def __init__(self, study: optuna.Study):
        self.study, self._kept, self._token = study, time.monotonic(), uuid.uuid4().hex
        complain_if_held(study)
        self._write()
        time.sleep(_SETTLE_SECONDS)  # two that start at once both find it free: the later entry has it
        self._complain_if_lost()

    def keep(self) -> None:
        """Tells other coordinators that this one is alive.

        Raises:
            MetsegError: Another one has the study now, as after this machine slept.
        """
        if time.monotonic() - self._kept > _SECONDS / 4:
            self._complain_if_lost()
            self._kept = time.monotonic()
            self._write()

    def release(self) -> None:
        """Lets another coordinator have the study at once, if it is still this one's."""
        if self._is_own():
            self.study.set_user_attr(_ENTRY, None)

    def _write(self) -> None:
        known = {"host": socket.gethostname(), "pid": os.getpid(), "seen": time.time(), "token": self._token}
        self.study.set_user_attr(_ENTRY, known)

    def _is_own(self) -> bool:
        held = self.study.user_attrs.get(_ENTRY)
        return bool(held) and held.get("token") == self._token

    def _complain_if_lost(self) -> None:
        if not self._is_own():
            raise MetsegError(f"{_holder(self.study)}; this one stops, and the same command goes on later")


def _holder(study: optuna.Study) -> str:
    held = study.user_attrs.get(_ENTRY)
    who = (
        f"is run by process {held['pid']} on {held['host']}"
        if held
        else "was run by another process meanwhile"
    )
    return f"the study '{study.study_name}' {who}"
