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
    """Returns all files below a folder, hidden ones left out, linked folders followed once each.

    A link with a file's name that leads nowhere is among them: who opens it says so.

    Raises:
        MetsegError: A folder cannot be read, or a link without a suffix leads nowhere: a patient could hide
            there.
    """
    found, seen = [], set()

    def look_in(folder: Path) -> None:
        real = os.path.realpath(folder)
        if real in seen:
            return
        seen.add(real)
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            reason = error.strerror or error
            raise MetsegError(f"cannot read {folder} ({reason}); make it readable or move it away") from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            try:  # as the listing says: no system call for each
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link that leads to itself
                is_folder = is_file = False
            if is_folder:
                look_in(path)
            elif is_file or (entry.is_symlink() and path.suffix and not path.exists()):
                found.append(path)
            elif entry.is_symlink() and not path.exists():
                raise MetsegError(f"{path} is a link that leads nowhere; mend it or remove it")

    look_in(Path(folder))
    return found


def make_folder(folder: Path, *, remedy: str = "choose another folder") -> None:
    """Makes a folder and those above it, or raises a `MetsegError`."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise MetsegError(f"cannot write to {shown(folder)}: {reason}; {remedy}") from error


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Makes a folder and holds its lock, which the system releases however this process ends.

    Raises:
        MetsegError: Another process holds it, or the folder cannot be written to.
    """
    remedy = "choose another folder as output_dir"
    make_folder(folder, remedy=remedy)
    lock = FileLock(Path(folder) / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise MetsegError(
            f"run '{shown(folder)}' is being written by another process; wait for it or choose another run"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise MetsegError(f"cannot write to {shown(folder)}: {reason}; {remedy}") from error
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


@contextmanager
def taking_apart(path: Path, remedy: str = "train again or name another run") -> Iterator[None]:
    """Turns what goes wrong as a file's record is taken apart into a `MetsegError` that names the file."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(repr(error).split())  # pydantic's takes several lines
        raise MetsegError(f"{shown(path)} is damaged ({reason:.80}); {remedy}") from error
