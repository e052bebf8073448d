"""Hashes of what a data set holds: by them it is known again under other names and in other places."""

import functools
import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from metseg.data.cases import CaseFiles, read_scan_of
from metseg.data.kept import kept, stat_of
from metseg.data.readers.images import read_file

HASH_DIGITS = 8  # of a slice: half of a scan's must be known for it to count, so no two scans meet by chance


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

    Those of volumes are kept, see `kept`, and not computed again.
    """
    return _scan_hashes(case, tuple(stat_of(path) for path in case.files if path))


@functools.lru_cache(maxsize=1 << 12)  # several models are asked about the same scans
def _scan_hashes(case: CaseFiles, as_seen: tuple[tuple[int, ...], ...]) -> set[str]:
    def found() -> dict:
        return {"hashes": sorted({slice_hash(image) for image in read_scan_of(case).channels_last})}

    if not case.volumes:
        return {*found()["hashes"]}
    sequences = sorted((name, str(each)) for name, each in case.volumes.sequences.items())
    return {*kept((case.allow_missing, sequences), filter(None, case.files), found)["hashes"]}


def slice_hash(image: np.ndarray) -> str:
    """Returns `HASH_DIGITS` digits of a slice's pixels; nothing for one of one colour, which is anybody's."""
    if (image == image[:1, :1]).all():
        return ""
    pixels = np.ascontiguousarray(image)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:HASH_DIGITS]
