"""Trials of workers that share no disk: data come from, and results go to, an address that all can reach."""

import hashlib
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
from filelock import FileLock
from fsspec.registry import known_implementations

from metseg.base.errors import MetsegError
from metseg.workbook.sweep.resources import own_temporary
from metseg.workbook.sweep.trial_process import Job, Outcome, run_job

_WHOLE = ".whole"  # there once all of a data set was fetched
_FOR_WORKERS = "/checkpoint/"  # what only another worker needs, to go on
_PROBE = ".metseg"
_OF_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl"}


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

    started = time.monotonic()
    try:
        fetch(address, scratch)
    except Exception as error:  # likewise
        return Outcome("cut off", 0.0, f"cannot read {address} ({_why(error)})")
    sent |= _states(scratch)
    outcome = run_job(replace(job, folder=scratch), report=tell, why_stop=why_stop)
    try:
        _send(scratch, address, sent)
    except Exception as error:  # likewise
        return Outcome("cut off", time.monotonic() - started, f"cannot write {address} ({_why(error)})")
    shutil.rmtree(scratch, ignore_errors=True)
    return outcome


def complain_of_store(address: str) -> None:
    """Complains of an address for results before any trial runs: writes a file there, and removes it.

    Raises:
        MetsegError: It is no address, fsspec cannot use it, or it cannot be written to.
    """
    if not is_address(address):
        named = f"results are to go to '{address}', which is no address"
        raise MetsegError(f"{named}; write s3://BUCKET/FOLDER, or file:///FOLDER, or leave it out")
    try:
        store, home = fsspec.core.url_to_fs(address)
        _make_folder(store, home)
        store.pipe_file(f"{home}/{_PROBE}", b"")
        store.rm_file(f"{home}/{_PROBE}")
    except Exception as error:  # likewise
        raise MetsegError(
            f"cannot write results to {address} ({_why(error)}); {_remedy(address, error)}"
        ) from None


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
        text = f"cannot fetch the data from {address} ({_why(error)})"
        raise MetsegError(f"{text}; {_remedy(address, error)}") from None
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
            _make_folder(store, f"{home}/{name}".rpartition("/")[0])
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


def _make_folder(store: fsspec.AbstractFileSystem, home: str) -> None:
    """Makes a folder, but where there are none: s3fs would make a bucket of a name that was mistyped."""
    names = {store.protocol} if isinstance(store.protocol, str) else {*store.protocol}
    if not names & _OF_BUCKETS:
        store.makedirs(home, exist_ok=True)


def _why(error: Exception) -> str:
    """Returns what a store said, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _remedy(address: str, error: Exception) -> str:
    protocol = address.partition("://")[0]
    if not isinstance(error, ImportError):
        return "check the address, and this machine's access to it"
    package = known_implementations.get(protocol, {}).get("class", protocol).partition(".")[0]
    return "install that package" if package == "fsspec" else f"pip install {package}"


def _scratch(address: str) -> Path:
    """The same path on all machines, so that a training finds its data where it began."""
    return own_temporary(f"sweep-{hashlib.sha256(address.encode()).hexdigest()[:12]}")
