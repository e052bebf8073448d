"""Files appear whole or not at all: written under a temporary name, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from metseg.errors import MetsegError

_MAX_DEPTH = 100  # folders in one another
_OF_THE_SYSTEM = ("/proc", "/sys")


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
            there. Or it is as in `complain_of_path`, or folders lie too deep in one another.
    """
    found, seen = [], set()

    def look_in(folder: Path, depth: int) -> None:
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
            complain_of_path(path, is_link=entry.is_symlink())
            try:  # as the listing says: no system call for each
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link that leads to itself
                is_folder = is_file = False
            if is_folder and depth == _MAX_DEPTH:
                deep = Path(*path.parts[:-depth])  # what lies in the folder that was given
                raise MetsegError(
                    f"{deep} holds over {_MAX_DEPTH} folders in one another; move it away, or its scans up"
                )
            if is_folder:
                look_in(path, depth + 1)
            elif is_file or (entry.is_symlink() and path.suffix and not path.exists()):
                found.append(path)
            elif entry.is_symlink() and not path.exists():
                raise MetsegError(f"{path} is a link that leads nowhere; mend it or remove it")

    complain_of_path(folder)
    look_in(Path(folder), 0)
    return found


def complain_of_path(path: Path, *, is_link: bool = True) -> None:
    """Raises a `MetsegError` for a path that no scan should have.

    Its name is no UTF-8, so that it can be neither printed nor written into a run's files; or it leads to the
    files by which the system shows itself, which have no end.

    Args:
        path: Of a file or folder.
        is_link: Whether it may lead elsewhere.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        readable = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise MetsegError(f"the name of {readable} is no UTF-8; rename it, in plain letters") from None
    real = Path(os.path.realpath(path)) if is_link else None
    for home in _OF_THE_SYSTEM:
        if real is not None and real.is_relative_to(home):
            raise MetsegError(f"{path} leads into {home}, where no scan lies; remove it or give another")


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
            f"run '{shown(folder)}' is being written by another process; wait for it or choose another run"
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


@contextmanager
def taking_apart(path: Path, remedy: str = "train again or name another run") -> Iterator[None]:
    """Turns what goes wrong as a file's record is taken apart into a `MetsegError` that names the file."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(repr(error).split())  # pydantic's takes several lines
        raise MetsegError(f"{shown(path)} is damaged ({reason:.80}); {remedy}") from error
