"""Files appear whole or not at all: written under a temporary name, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from metseg.errors import MetsegError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, with the same suffixes, that becomes `path` when all went well.

    Raises:
        MetsegError: The disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise MetsegError(
            f"cannot write {path} ({error.strerror or error}); "
            "free disk space or choose another output folder"
        ) from error
    finally:
        with suppress(OSError):  # gone already, or below a path that is no folder
            partial.unlink()


def files_below(folder: Path) -> list[Path]:
    """Returns all files below a folder, hidden ones left out, linked folders followed once each."""
    found, seen = [], set()

    def look_in(folder: Path) -> None:
        real = os.path.realpath(folder)
        if real in seen:
            return
        seen.add(real)
        entries = []
        with suppress(OSError), os.scandir(folder) as listing:  # a folder that may not be read holds nothing
            entries = sorted(listing, key=lambda entry: entry.name)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            with suppress(OSError):  # a link that leads to itself
                if entry.is_dir():
                    look_in(folder / entry.name)
                elif entry.is_file():  # as the listing said: no system call for each
                    found.append(folder / entry.name)

    look_in(Path(folder))
    return found


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, or raises a `MetsegError`."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise MetsegError(f"cannot write to {shown(folder)}: {reason}; choose another folder") from error


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Makes a folder and holds its lock, which the system releases however this process ends.

    Raises:
        MetsegError: Another process holds it, or the folder cannot be written to.
    """
    make_folder(folder)
    lock = FileLock(Path(folder) / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise MetsegError(
            f"run '{shown(folder)}' is being written by another process; "
            "wait for it or choose another --run-name"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise MetsegError(f"cannot write to {shown(folder)}: {reason}; choose another folder") from error
    try:
        yield
    finally:
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, record: dict) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False))


def shown(path: Path) -> str:
    """Returns a path as users read it best: relative when it lies below the working directory."""
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def read_json(path: Path) -> dict:
    """Reads what `write_json` wrote, or raises a `MetsegError` that names the file."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict):
        raise MetsegError(f"{shown(path)} is missing or damaged; train again or name another run")
    return record
