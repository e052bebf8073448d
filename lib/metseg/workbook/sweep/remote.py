"""Trials of workers that share no disk: data come from, and results go to, an address that all can reach."""

import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
from filelock import FileLock

from metseg.base.errors import MetsegError
from metseg.workbook.sweep.resources import own_temporary
from metseg.workbook.sweep.trial_process import Job, Outcome, run_job

_WHOLE = ".whole"  # there once all of a data set was fetched
_FOR_WORKERS = "/checkpoint/"  # what only another worker needs, to go on


def is_address(place: object) -> bool:
    """Whether a place is one that fsspec reads: s3://…, gs://…, file://…"""
    return isinstance(place, str) and "://" in place


def run_remote_job(
    job: Job,
    results: str,
    *,
    report: Callable[[dict[str, Any]], None],
    why_stop: Callable[[], str | None],
) -> Outcome:
    """Runs a trial as `run_job` does, in a scratch folder of this machine.

    What an earlier worker left at `results` is fetched first; after each epoch, and at the end, what has
    changed is sent there, so that yet another worker can go on.
    """
    scratch, address = _scratch(results) / job.name, f"{results.rstrip('/')}/{job.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    sent, known = dict[str, tuple[int, int]](), 0

    def tell(progress: dict[str, Any]) -> None:
        nonlocal known
        if len(progress["dice"]) > known:
            known = len(progress["dice"])
            with suppress(Exception):  # each store has errors of its own; the next epoch may do better
                _send(scratch, address, sent)
        report(progress)

    try:
        fetch(address, scratch)
        sent |= _states(scratch)
        outcome = run_job(replace(job, folder=scratch), report=tell, why_stop=why_stop)
        _send(scratch, address, sent)
    except Exception as error:  # likewise
        return Outcome("died", 0.0, f"{address}: {' '.join(str(error).split()) or type(error).__name__}")
    shutil.rmtree(scratch, ignore_errors=True)
    return outcome


def local_data(address: str) -> Path:
    """Returns a folder of this machine with the data of an address, which is fetched once.

    Raises:
        MetsegError: It cannot be fetched.
    """
    folder = _scratch(address)
    try:
        with FileLock(folder.with_suffix(".lock")):
            if not (folder / _WHOLE).exists():
                shutil.rmtree(folder, ignore_errors=True)
                if not fetch(address, folder):
                    raise FileNotFoundError("there is nothing")
                (folder / _WHOLE).touch()
    except Exception as error:  # each store has errors of its own
        raise MetsegError(f"cannot fetch the data from {address} ({error}); check the address") from None
    return folder


def fetch(address: str, folder: Path, *, for_reading: bool = False) -> bool:
    """Copies all below an address into a folder, and returns whether there was anything.

    With `for_reading` what only a worker needs is left out.
    """
    store, home = fsspec.core.url_to_fs(address)
    store.invalidate_cache()
    if not store.exists(home):
        return False
    for path in store.find(home):
        name = path[len(home) :].strip("/")
        if not (for_reading and _FOR_WORKERS in f"/{name}"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            store.get_file(path, str(folder / name))
    return folder.is_dir()


def _send(folder: Path, address: str, sent: dict[str, tuple[int, int]]) -> None:
    """Copies what has changed in a folder since the last call to an address, and removes what is gone."""
    store, home = fsspec.core.url_to_fs(address)
    found = _states(folder)
    for name in [each for each in found if sent.get(each) != found[each]]:
        with suppress(FileNotFoundError):  # replaced meanwhile
            store.makedirs(f"{home}/{name}".rpartition("/")[0], exist_ok=True)
            store.put_file(str(folder / name), f"{home}/{name}")
            sent[name] = found[name]
    for name in sent.keys() - found.keys():
        with suppress(FileNotFoundError):
            store.rm_file(f"{home}/{name}")
        del sent[name]


def _states(folder: Path) -> dict[str, tuple[int, int]]:
    """Returns {file: time and size} of all below a folder but what is hidden, and passing."""
    found = {}
    for path in folder.rglob("[!.]*"):
        with suppress(OSError):
            if path.is_file():
                state = path.stat()
                found[path.relative_to(folder).as_posix()] = (state.st_mtime_ns, state.st_size)
    return found


def _scratch(address: str) -> Path:
    """The same path on all machines, so that a training finds its data where it began."""
    return own_temporary(f"sweep-{hashlib.sha256(address.encode()).hexdigest()[:12]}")
