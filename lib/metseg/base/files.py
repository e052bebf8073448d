"""Files appear whole or not at all: written under a temporary name, brought to the disk, then renamed."""

import glob
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from metseg.base.errors import FolderInUse, MetsegError
from metseg.base.leftovers import being_written, is_left, remove_leftovers

_DEAD_AFTER_S = 24 * 3600
_OF_THE_SYSTEM = ("/proc", "/sys")


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path`, with the same suffixes, that becomes `path` when all went well.

    Args:
        path: The file to write.
        durable: Wait until it is on the disk, so that not even a power cut loses it.

    Raises:
        MetsegError: The disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    being_written.add(partial.absolute())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if durable:
            sync_file(partial)
        os.replace(partial, path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        remedy = "free disk space or choose another output folder"
        raise MetsegError(f"cannot write {path} ({error.strerror or error}); {remedy}") from error
    finally:
        with suppress(OSError):  # gone already, or below a path that is no folder
            partial.unlink()
        being_written.discard(partial.absolute())


def sync_file(path: Path) -> None:
    """Returns when a file's content is on the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Returns when what was renamed within a folder is on the disk, where the system can tell."""
    with suppress(OSError):  # Windows opens no folder, some network drives sync none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def files_below(folder: Path) -> list[Path]:
    """Returns all files below a folder in order, hidden ones left out, linked folders followed once each.

    A link with a file's name that leads nowhere is among them: who opens it says so.

    Raises:
        MetsegError: A folder cannot be read, a link without a suffix leads nowhere (a patient could hide
            there), or a path is as in `complain_of_path`.
    """

    def refuse(error: OSError) -> None:
        reason = f"cannot read {error.filename} ({error.strerror or error})"
        raise MetsegError(f"{reason}; make it readable or move it away") from error

    complain_of_path(folder)
    found, seen = [], set()
    for home, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        complain_of_path(home)
        visible = [each for each in sorted(folders) if not each.startswith(".")]
        folders[:] = [] if (real := os.path.realpath(home)) in seen else visible
        for path in [Path(home, name) for name in names if not name.startswith(".") and real not in seen]:
            is_link = path.is_symlink()
            if is_link or not path.name.isascii():
                complain_of_path(path)
            if is_link and not path.suffix and not path.exists():
                raise MetsegError(f"{path} is a link that leads nowhere; mend it or remove it")
            if is_link or path.is_file():
                found.append(path)
        seen.add(real)
    return sorted(found)


def complain_of_path(path: Path) -> None:
    """Raises a `MetsegError` for a path that no scan should have.

    Its name is no UTF-8, so that it cannot be printed; or it leads to the files by which the system shows
    itself, which have no end.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        readable = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise MetsegError(f"the name of {readable} is no UTF-8; rename it, in plain letters") from None
    for home in _OF_THE_SYSTEM:
        if Path(os.path.realpath(path)).is_relative_to(home):
            raise MetsegError(f"{path} leads into {home}, where no scan lies; remove it or give another")


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, or raises a `MetsegError`."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise MetsegError(f"cannot write to {shown(folder)}: {reason}; choose another folder") from error


@contextmanager
def whole_folder(folder: Path, *, is_there: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """Yields a folder to fill that becomes `folder`, where nothing is yet, when all went well.

    If another process has made the same meanwhile (`is_there`), that one stays. A `MetsegError` tells that it
    cannot be written. What killed processes left of it goes first.
    """
    for left in filter(is_left, folder.parent.glob(f".*.{glob.escape(folder.name)}.*.partial")):
        with suppress(OSError):  # another process removes it
            if time.time() - left.stat().st_mtime > _DEAD_AFTER_S:  # it may be another machine's
                shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f".{os.getpid()}.{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    being_written.add(partial.absolute())
    try:
        partial.mkdir(parents=True)
        yield partial
        if not is_there():
            if folder.exists():
                folder.rmdir()  # Windows renames onto nothing that exists
            os.rename(partial, folder)
    except OSError as error:
        text = f"cannot write {shown(folder)} ({error.strerror or error})"
        raise MetsegError(f"{text}; free disk space or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        being_written.discard(partial.absolute())


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Makes a folder and holds its lock, which the system releases however this process ends.

    What killed processes left half-written below it goes first.

    Raises:
        FolderInUse: Another process holds it.
        MetsegError: The folder cannot be written to.
    """
    make_folder(folder)
    lock = FileLock(Path(folder) / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUse(
            f"run '{shown(folder)}' is being written by another process; wait for it or choose another run"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise MetsegError(f"cannot write to {shown(folder)}: {reason}; choose another folder") from error
    try:
        remove_leftovers(folder)
        yield
    finally:
        lock.release()


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Writes a text file whole or not at all; see `replacing`."""
    with replacing(path, durable=durable) as partial:
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


@contextmanager
def taking_apart(path: Path, remedy: str = "train again or name another run") -> Iterator[None]:
    """Turns what goes wrong as a file's record is taken apart into a `MetsegError` that names the file."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(repr(error).split())  # pydantic's takes several lines
        raise MetsegError(f"{shown(path)} is damaged ({reason:.80}); {remedy}") from error


def write_sealed(path: Path, record: dict) -> None:
    """Writes a JSON file with a hash by which `read_sealed` finds any damage to it."""
    write_json(path, {"record": record, "sha256": _seal(record)})


def read_sealed(path: Path) -> dict:
    """Reads what `write_sealed` wrote, or raises a `MetsegError` if that is missing or damaged."""
    found = read_json(path)
    if not isinstance(found.get("record"), dict) or found.get("sha256") != _seal(found["record"]):
        raise MetsegError(f"{shown(path)} is damaged; train again or name another run")
    return found["record"]


def _seal(record: dict) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's content as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
