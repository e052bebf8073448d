"""One trial of a sweep: a notebook in a process of its own, watched, bounded and always cleaned up after."""

import errno
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metseg.base.errors import FolderInUse, MetsegError
from metseg.base.files import make_folder, read_json, sole_writer
from metseg.training.run_folder import RunFolder
from metseg.workbook.notebook_process import NotebookDied, run_notebook
from metseg.workbook.run import output_dir_for
from metseg.workbook.sweep.processes import MARK, end_processes, memory_held
from metseg.workbook.sweep.resources import one_gpu, thread_limits

_WAIT_SECONDS = 60  # for another process to leave a trial's folder
_LOOK_SECONDS = 0.5
_TRANSPORT = "tcp" if os.name == "nt" else "ipc"


@dataclass(frozen=True)
class Job:
    """A trial as it is sent to whoever runs it."""

    name: str
    notebook: Path
    values: dict[str, Any]  # all parameters of the notebook but its run's place
    folder: Path  # of this trial: its run folder
    beside: int = 1  # trials that share this machine
    memory: int | None = None  # bytes that it and all it starts may hold


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    `done`, `failed`, `died` (may be tried again), `stopped`, `full` (no disk), or `cut off` (from the address
    of its data or results).
    """

    state: str
    seconds: float
    reason: str = ""
    notebook: str = ""  # the executed copy, whole or as far as it came, below the trial's folder
    epochs: int = 0  # finished, in all tries
    validation_dice: float | None = None
    of_patients: dict[str, float] = field(default_factory=dict)  # validation Dice
    machine: str = field(default_factory=socket.gethostname)


def run_job(
    job: Job,
    *,
    report: Callable[[dict[str, Any]], None] = lambda progress: None,
    why_stop: Callable[[], str | None] = lambda: None,
) -> Outcome:
    """Runs a trial, and leaves no process of it behind, also none that an earlier try left.

    Args:
        job: The trial.
        report: Called with the notebook's progress.json, and `dice`, the validation Dice of each epoch.
        why_stop: Asked twice a second; a reason ends the trial.
    """
    started, ended = time.monotonic(), threading.Event()
    run, copy = RunFolder(job.folder / job.values["model"]), job.folder / "notebooks" / job.notebook.name
    stopped: list[tuple[str, str]] = []
    watching = threading.Thread(target=_watch, args=(job, why_stop, ended, stopped), daemon=True)

    def told(state: str, reason: str = "") -> Outcome:
        found = copy if state == "done" else copy.with_suffix(".unfinished.ipynb")
        where = found.relative_to(job.folder).as_posix() if found.exists() else ""
        epochs = 0
        with suppress(MetsegError):
            epochs = len(run.validation_dice_of_epochs())
        return Outcome(state, time.monotonic() - started, reason, where, epochs)

    def tell(kind: str, **details: Any) -> None:
        if kind == "training":
            with suppress(MetsegError):  # half-written as it is read
                report({**details["training"], "dice": run.validation_dice_of_epochs()})

    try:
        end_processes(job.folder)
        with _own_folder(job.folder), one_gpu() as gpu:
            make_folder(copy.parent)
            place = {
                "run_name": job.folder.name,
                "output_dir": output_dir_for(job.folder, job.notebook),
            }
            environment = {MARK: str(job.folder), **thread_limits(job.beside), **gpu}
            watching.start()
            run_notebook(
                job.notebook,
                copy,
                job.values | place,
                progress_file=run.progress,
                report=tell,
                environment=environment,
                transport=_TRANSPORT,
            )
            known = read_json(run.description)
            dice = {"validation_dice": known["validation_dice"]}
            dice["of_patients"] = known.get("validation_dice_of_patients", {})
            return Outcome(**{**vars(told("done")), **dice})
    except (MetsegError, OSError, KeyError) as error:
        if stopped:
            return told(*stopped[0])
        text = " ".join(str(error).split())
        if os.strerror(errno.ENOSPC) in text:
            return told("full", text)
        return told("died" if isinstance(error, NotebookDied) else "failed", text)
    finally:
        ended.set()
        end_processes(job.folder)


def _watch(
    job: Job, why_stop: Callable[[], str | None], ended: threading.Event, stopped: list[tuple[str, str]]
) -> None:
    """Ends a trial that is told to stop, or that holds more memory than it may."""
    for look in itertools.count():
        if ended.wait(_LOOK_SECONDS):
            return
        if (reason := why_stop()) is not None:
            stopped.append(("stopped", reason))
        elif job.memory and look % 4 == 0 and (held := memory_held(job.folder)) > job.memory:
            own, share = (f"{size / 2**30:.1f} GiB" for size in (held, job.memory))
            stopped.append(("failed", f"it held {own} of memory, its share is {share}; run fewer at once"))
        if stopped:
            end_processes(job.folder)
            return


@contextmanager
def _own_folder(folder: Path) -> Iterator[None]:
    """Waits for a worker that lost its scheduler and is about to leave the folder."""
    until = time.monotonic() + _WAIT_SECONDS
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(sole_writer(folder))
                break
            except FolderInUse:
                if time.monotonic() > until:
                    raise
                time.sleep(_LOOK_SECONDS)
        yield
