"""What takes long to find out of files is kept on disk, by what the system tells of them."""

import functools
import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import read_sealed, write_sealed
from metseg.base.paths import hashes_dir

_MOST = 10_000  # findings that are kept, of a scan 2 KB each


def kept(asked: object, files: Iterable[Path], find: Callable[[], dict]) -> dict:
    """Returns what `find` finds, or what it found before in the same files with the same code.

    Args:
        asked: What else it depends on; its `repr` tells.
        files: The files.
        find: Returns what JSON can hold.
    """
    # The folder of prepared slices is not made for this: who has none has no checkout.
    if not hashes_dir().parent.is_dir():
        return find()
    digest = hashlib.sha256(f"{asked!r} {_code_version()}".encode())
    for path in files:
        digest.update(f"{os.path.realpath(path)!r} {stat_of(path)}\n".encode())
    note = hashes_dir() / f"{digest.hexdigest()[:24]}.json"
    with suppress(MetsegError):  # there is none, or it is damaged
        return read_sealed(note)
    found = find()
    with suppress(MetsegError, OSError):  # it may lie where nobody can write
        note.parent.mkdir(exist_ok=True)
        write_sealed(note, found)
        _drop_oldest(note.parent)
    return found


def stat_of(path: Path) -> tuple[int, ...]:
    """Returns a file's size, times of change and number on the disk; no program can set all of them."""
    stat = os.stat(path)  # of what a link leads to
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


@functools.cache
def _code_version() -> str:
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest() + np.__version__


def _drop_oldest(folder: Path) -> None:
    notes = list(folder.glob("*.json"))
    if len(notes) > _MOST:
        for note in sorted(notes, key=os.path.getmtime)[: 1 + _MOST // 10]:
            note.unlink(missing_ok=True)
