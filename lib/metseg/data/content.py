"""What a data set holds, as hashes: by them it is known again under other names and in other places."""

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
        for path, content in zip(paths, pool.map(_content_hash, paths), strict=True):
            digest.update(path.name.encode() + content)
    return digest.hexdigest()[:16]


def _content_hash(path: Path) -> bytes:
    return hashlib.sha256(read_file(path)).digest()


def slice_hash(image: np.ndarray) -> str:
    """Returns `HASH_DIGITS` digits that a slice's pixels give in whatever file they are stored.

    Nothing for a slice of one colour, as beyond the head: it says nothing of whose it is.
    """
    if (image == image[:1, :1]).all():
        return ""
    pixels = np.ascontiguousarray(image)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:HASH_DIGITS]
