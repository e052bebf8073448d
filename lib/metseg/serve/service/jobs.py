"""Volumes that take longer than a request: they wait, are segmented, and wait to be fetched, once.

A job is one file in a folder that all processes of the service share; its suffix says how far it is.
"""

import json
import logging
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import psutil
from pydantic import BaseModel, Field

from metseg.base.errors import MetsegError
from metseg.inference.operating_points import OperatingPoint
from metseg.serve.faults import NO_ROOM, is_full, where
from metseg.serve.upload import Refused
from metseg.serve.volume_upload import UPLOAD

KEPT_SECONDS = 3600
JOB_SECONDS = 900  # may a volume wait, and again be segmented
_FAULT_BYTES = 4096  # of a job's file from the start, so that a full disk can be told on a full disk
_STATES = ("queued", "running", "done")
_NO_ROOM = {"code": "no_room", "message": NO_ROOM}
_ID = re.compile(r"[\w-]{32}")
_log = logging.getLogger("metseg.serve")


class Job(BaseModel):
    """How far the segmentation of a volume is."""

    id: str
    status: Literal["queued", "running"] = Field(
        description="When it is done, the same address answers with the file, once."
    )
    url: str = Field(description="Where to ask; nothing is kept there for longer than an hour.")
    model: str = ""
    notes: list[str] = Field(
        [], description="What was taken for what, changed or guessed as files were read."
    )
    caution: str = ""
    expected: OperatingPoint | None = Field(
        None,
        description="What networks with `operating_points` were found to find at this `lesion_threshold`: "
        "false positives a scan, and lesions found, by diameter in mm, of validation scans that lacked the "
        "same sequences; null where nothing tells.",
    )


class Done(NamedTuple):
    """What came of a job: a file's `name` and `content`, and what is to be known of it, as sentences."""

    name: str
    content: bytes
    notes: tuple[str, ...] = ()


class Jobs:
    """The jobs of this process, among those of all.

    Attributes:
        folder: Theirs; nobody else can read it. What is made of an upload on the way lies here as well.
    """

    def __init__(self, folder: Path | None = None, *, most: int = 4):
        """Takes a folder, else one of its own that `close` removes; `most` jobs are there at a time."""
        self._own = None if folder else tempfile.TemporaryDirectory(prefix="metseg-jobs-")
        self.folder, self._most = Path(folder or self._own.name), most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="volumes")

    def reserve(self) -> str:
        """Returns the id of a new job, or raises `Refused` where there is no room for one."""
        self.forget_old()
        if len({path.stem for path in self._files()}) >= self._most:
            raise Refused(
                "jobs_full", f"The service has {self._most} volumes, the most; try again in a minute"
            )
        job = secrets.token_urlsafe(24)
        path = self.folder / f"{job}.queued"
        try:
            path.write_bytes(b"%d".ljust(_FAULT_BYTES) % os.getpid())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return job

    def start(self, job: str, work: Callable[[], Done]) -> None:
        """Has a reserved job done."""
        self._thread.submit(self._run, job, work)

    def drop(self, job: str) -> None:
        """Gives a job up that was reserved and not started."""
        (self.folder / f"{job}.queued").unlink(missing_ok=True)

    def ask(self, job: str) -> Literal["queued", "running"] | Done:
        """Returns how far a job is; what is done is forgotten by that.

        Raises:
            Refused: There is none of that id (any more), or it failed: why.
        """
        known = [self.folder / f"{job}.{status}" for status in _STATES] if _ID.fullmatch(job) else []
        for path in known[:2]:
            with suppress(FileNotFoundError):
                if _is_orphan(path):
                    path.unlink()
                    raise Refused("internal_error", "The process that had this volume ended; send it again")
        self.forget_old()
        for status, path in zip(_STATES, known, strict=False):
            if status != "done":
                if path.exists():
                    return status
                continue
            taken = path.with_suffix(".taken")  # by one who asks alone
            with suppress(FileNotFoundError):
                path.rename(taken)
                head, content = taken.read_bytes().split(b"\n", 1)
                taken.unlink()
                found = json.loads(head)
                if "code" in found:
                    raise Refused(**found)
                return Done(found["name"], content, tuple(found["notes"]))
        raise Refused(
            "not_found",
            "There is no such job; it was fetched, took over 15 minutes, is older than an hour, or never was",
        )

    def forget_old(self) -> None:
        """Removes what nobody has fetched for an hour, what takes too long, and what a dead process left."""
        for path in self._files():
            with suppress(FileNotFoundError):
                if _is_old(path) or _is_orphan(path):
                    path.unlink()
        for folder in self.folder.glob(f"{UPLOAD}*"):
            if not psutil.pid_exists(int(folder.name.removeprefix(UPLOAD).partition("-")[0])):
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Ends: what waits is given up, and the folder goes, unless it was given."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._own:
            self._own.cleanup()

    def _files(self):
        return (path for path in self.folder.glob("*.*") if path.is_file())

    def _run(self, job: str, work: Callable[[], Done]) -> None:
        queued, running = (self.folder / f"{job}.{status}" for status in ("queued", "running"))
        try:
            queued.rename(running)
            running.touch()
            try:
                name, content, notes = work()
                head = {"name": name, "notes": notes}
            except MetsegError as error:
                text = str(error).replace(f"{self.folder}/", "")
                head = {"code": getattr(error, "code", "unusable_volume"), "message": text}
                if isinstance(error.__cause__, OSError) and is_full(error.__cause__):
                    head = _NO_ROOM
                content = b""
            except Exception as error:
                _log.error("%s", where(error))
                head = {"code": "internal_error", "message": "The service failed; tell who runs it"}
                if isinstance(error, OSError) and is_full(error):
                    head = _NO_ROOM
                content = b""
            self._keep(running, json.dumps(head).encode() + b"\n" + content)
        except OSError as error:  # the folder is gone: the service ends
            _log.info("a volume was given up: %s", type(error).__name__)
        finally:
            running.unlink(missing_ok=True)

    def _keep(self, running: Path, found: bytes) -> None:
        if not running.exists():  # it took too long, and was told so
            return
        partial = running.with_suffix(".partial")
        try:
            partial.write_bytes(found)
            partial.rename(running.with_suffix(".done"))
        except OSError as error:
            partial.unlink(missing_ok=True)
            if not is_full(error):
                raise
            with running.open("r+b") as reserved:
                reserved.write(json.dumps(_NO_ROOM).encode() + b"\n")
            running.rename(running.with_suffix(".done"))


def _is_old(path: Path) -> bool:
    most = JOB_SECONDS if path.suffix in (".queued", ".running") else KEPT_SECONDS
    return time.time() - path.stat().st_mtime > most


def _is_orphan(path: Path) -> bool:
    """Returns whether a job waits for a process that is no more; its file begins with that one's number."""
    if path.suffix not in (".queued", ".running"):
        return False
    with path.open("rb") as file:
        number = file.read(20).partition(b"\n")[0].strip()  # or the answer, a moment before it is called done
    return number.isdigit() and not psutil.pid_exists(int(number))
