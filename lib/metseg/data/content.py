"""Hashes of what a data set holds: by them it is known again under other names and in other places."""

import functools
import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import read_sealed, write_sealed
from metseg.base.paths import hashes_dir
from metseg.data.cases import CaseFiles, read_scan_of
from metseg.data.readers.images import read_file

HASH_DIGITS = 8  # of a slice: half of a scan's must be known for it to count, so no two scans meet by chance
_MOST_NOTES = 10_000  # scans whose hashes are kept, 2 KB each


def files_of(cases: Iterable[CaseFiles]) -> list[Path]:
    """Returns the files of some cases, images and references in order."""
    return [path for case in cases for path in case.files]


def fingerprint(cases: Iterable[CaseFiles]) -> str:
    """Returns a hash of the files' names and contents: the same wherever the data set lies.

    Raises:
        MetsegError: A file cannot be read.
    """
    digest, paths = hashlib.sha256(), files_of(cases)
    with ThreadPoolExecutor() as pool:
        contents = pool.map(lambda path: hashlib.sha256(read_file(path)).digest(), paths)
        for path, content in zip(paths, contents, strict=True):
            digest.update(path.name.encode() + content)
    return digest.hexdigest()[:16]


def scan_hashes(case: CaseFiles) -> set[str]:
    """Returns the `slice_hash` of each of a scan's slices, as the networks take them.

    Those of volumes are kept in `hashes_dir`, by what the system tells of the files, and not computed again.
    """
    return _scan_hashes(case, tuple(stat_of(path) for path in case.files if path))


@functools.lru_cache(maxsize=1 << 12)  # several models are asked about the same scans
def _scan_hashes(case: CaseFiles, as_seen: tuple[tuple[int, ...], ...]) -> set[str]:
    # The folder of prepared slices is not made for this: who has none has no checkout.
    note = _note_of(case, as_seen) if case.volumes and hashes_dir().parent.is_dir() else None
    if note:
        with suppress(MetsegError, KeyError):  # there is none, or it is damaged
            return set(read_sealed(note)["hashes"])
    found = {slice_hash(image) for image in read_scan_of(case).channels_last}
    if note:
        with suppress(MetsegError, OSError):  # it may lie where nobody can write
            note.parent.mkdir(exist_ok=True)
            write_sealed(note, {"hashes": sorted(found)})
            _drop_oldest(note.parent)
    return found


def _note_of(case: CaseFiles, as_seen: tuple[tuple[int, ...], ...]) -> Path:
    """Returns the file that keeps a scan's hashes; its name tells the files and the code that reads them."""
    places = [os.path.realpath(path) for path in case.files if path]
    known = case.allow_missing, sorted(case.volumes.sequences), places, as_seen, _code_version()
    return hashes_dir() / f"{hashlib.sha256(repr(known).encode()).hexdigest()[:24]}.json"


@functools.cache
def _code_version() -> str:
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest() + np.__version__


def _drop_oldest(folder: Path) -> None:
    notes = list(folder.glob("*.json"))
    if len(notes) > _MOST_NOTES:
        for note in sorted(notes, key=os.path.getmtime)[: 1 + _MOST_NOTES // 10]:
            note.unlink(missing_ok=True)


def stat_of(path: Path) -> tuple[int, ...]:
    """Returns a file's size, times of change and number on the disk; no program can set all of them."""
    stat = os.stat(path)  # of what a link leads to
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def slice_hash(image: np.ndarray) -> str:
    """Returns `HASH_DIGITS` digits of a slice's pixels; nothing for one of one colour, which is anybody's."""
    if (image == image[:1, :1]).all():
        return ""
    pixels = np.ascontiguousarray(image)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:HASH_DIGITS]
