"""What a cache is known by: the files' content, who is in them, the parameters, the code that computes."""

import functools
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import PIL
import tifffile

from metseg.data.cases import CaseFiles
from metseg.data.content import files_of
from metseg.preprocessing.pipeline import Preprocessing

# What turns files into a cache: another code, another cache. A comment changes a key as well, which costs
# some seconds; that a change is overlooked would cost a training.
COMPUTED_BY = ("preprocessing/*.py", "masks/head.py", "data/readers/*.py", "data/volume.py", "data/cases.py")
COMPUTED_BY += ("data/content.py", "training/cache.py", "training/cache_files.py")
_PACKAGE = Path(__file__).parents[1]


def key_of(cases: Iterable[CaseFiles], config: Preprocessing, fingerprint: str) -> str:
    """Returns the name of the cache of files with this `content.fingerprint`."""
    digest = _digest(cases, config)
    digest.update(fingerprint.encode())
    return digest.hexdigest()[:16]


def key_as_seen(cases: list[CaseFiles], config: Preprocessing) -> str:
    """Returns a key by what the system tells of the files, so that a second run need not read them."""
    digest = _digest(cases, config)
    real = functools.cache(os.path.realpath)  # looks at every part of a path: once a folder, not once a file
    for path in files_of(cases):
        folder, name = os.path.split(path)
        digest.update(f"{os.path.join(real(folder), name)}|{as_seen(path)}\n".encode())
    return digest.hexdigest()[:16]


def as_seen(path: Path) -> list[int]:
    """Returns a file's size, times of change and number on the disk; no program can set all of them."""
    stat = os.stat(path)  # of what a link leads to
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _digest(cases: Iterable[CaseFiles], config: Preprocessing):
    # Neighbours are put together when a slice is read: what is kept is the same with and without.
    parameters = config.model_dump_json(exclude={"neighbours"})
    digest = hashlib.sha256(f"{parameters} {_code_version()}".encode())
    for case in cases:
        numbers = [files.slice_index for files in case.slices]
        digest.update(f"{case.case_id}|{case.patient_id}|{numbers}\n".encode())
    return digest


@functools.cache
def _code_version() -> str:
    files = [path for pattern in COMPUTED_BY for path in sorted(_PACKAGE.glob(pattern))]
    source = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    return " ".join([source, cv2.__version__, np.__version__, PIL.__version__, tifffile.__version__])
