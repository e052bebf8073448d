"""Hashes of what a data set holds: by them it is known again under other names and in other places."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from metseg.data.cases import CaseFiles
from metseg.data.readers.images import read_file

HASH_DIGITS = 8  # of a slice: half of a scan's must be known for it to count, so no two scans meet by chance


def files_of(cases: Iterable[CaseFiles]) -> list[Path]:
    """Returns the files of some cases, each slice's image and mask in order."""
    return [path for case in cases for files in case.slices for path in (files.image, files.mask)]


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


def slice_hash(image: np.ndarray) -> str:
    """Returns `HASH_DIGITS` digits of a slice's pixels; nothing for one of one colour, which is anybody's."""
    if (image == image[:1, :1]).all():
        return ""
    pixels = np.ascontiguousarray(image)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:HASH_DIGITS]
