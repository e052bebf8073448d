"""Slices decoded and preprocessed once, then read as memory-mapped arrays."""

import functools
import hashlib
import inspect
import io
import os
import shutil
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
import pandas as pd
import PIL
import tifffile
from filelock import FileLock, Timeout

from metseg.base.errors import MetsegError, MetsegWarning
from metseg.base.files import (
    read_json,
    read_sealed,
    sync_file,
    sync_folder,
    write_json,
    write_sealed,
    write_text,
)
from metseg.data import cases as case_files
from metseg.data import content, volume
from metseg.data.cases import CaseFiles, load_case
from metseg.data.content import files_of, fingerprint, slice_hash
from metseg.data.readers import image_errors, pictures, tiff_slices
from metseg.data.readers import images as image_files
from metseg.data.readers.images import complain_of_classes
from metseg.masks import head
from metseg.preprocessing import intensity
from metseg.preprocessing import pipeline as preprocessing
from metseg.preprocessing.neighbours import neighbour_rows, stacked
from metseg.preprocessing.pipeline import Preprocessing, preprocess, preprocess_mask, view_of

_COLUMNS = {
    "case_id": str,
    "patient_id": str,
    "slice_index": "int32",
    "lesion_px": "int32",
    "scan_lesion_px": "int32",
    "image_hash": str,
}
CACHE_VERSION = 3  # part of every key: raise it when what a cache's files hold changes
# What turns files into network input: another code, another cache. A comment changes a key as well, which
# costs some seconds; that a change is overlooked would cost a training.
COMPUTED_BY = (
    *(preprocessing, intensity, head, case_files, volume),
    *(image_files, image_errors, tiff_slices, pictures, content),
)
_ARRAYS = ("images.npy", "masks.npy")
_BLOCK = 1 << 24  # bytes that one thread sums up at once


@dataclass(frozen=True)
class SliceCache:
    """All slices of a data set as network input.

    Attributes:
        images: (N, S, S, 3) uint8, memory-mapped; divided by 255 they are what `preprocess` returned.
        masks: (N, S, S) bool, memory-mapped.
        slices: One row a slice, a case's slices in order: case_id, patient_id, slice_index, lesion_px (on the
            network's grid), scan_lesion_px (on the scan's own, whatever the network sees), image_hash
            (`content.slice_hash` of the scan's own pixels).
        fingerprint: Hash of every file's name and content.
        neighbours: Slices on each side that belong to a slice's network input.
    """

    images: np.ndarray
    masks: np.ndarray
    slices: pd.DataFrame
    fingerprint: str
    neighbours: int = 0

    def network_input(self, rows: np.ndarray) -> np.ndarray:
        """Returns slices with their neighbours as a network takes them, (B, S, S, C) float32 in [0, 1]."""
        return stacked(self.images, self._beside[rows]).astype(np.float32) / 255

    @functools.cached_property
    def _beside(self) -> np.ndarray:
        lengths = self.slices.groupby("case_id", observed=True, sort=False).size()
        return neighbour_rows(lengths.to_numpy(), self.neighbours)

    def rows(self, patients: tuple[str, ...], *, exclude_empty: bool = False) -> np.ndarray:
        """Returns the row numbers of these patients' slices."""
        chosen = self.slices.patient_id.isin(patients)
        if exclude_empty:
            chosen &= self.slices.lesion_px > 0
        return np.flatnonzero(chosen)


def open_cache(cases: list[CaseFiles], config: Preprocessing, *, folder: Path) -> SliceCache:
    """Opens the cache of a data set under these parameters, and makes it first where there is none.

    A cache has its name from what the files hold, who is in them, the parameters, and the code that computes
    with them. That a second run need not read a scan, what the system tells of every file (path, size, times
    of change, number on the disk) is noted beside it: a corrected mask of the same size and time has another
    change time on POSIX systems, which no program can set. Where that differs the files are read, and only
    where they differ is a new cache filled.

    A cache is filled under a temporary name and renamed. It has hashes of its files; a damaged one is made
    again, and a warning says so.

    Args:
        cases: Complete cases.
        config: How slices become network input.
        folder: Where caches live.

    Raises:
        MetsegError: A file is wrong or changes meanwhile, or the folder cannot be written to.
    """
    folder, as_seen = Path(folder), _key_as_seen(cases, config)
    home = _noted_home(folder, as_seen)
    cache = home and _whole(home)
    if cache is None:
        found = fingerprint(cases)
        home = folder / _key(cases, config, found)
        cache = _whole(home)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if cache is None:
                with FileLock(home.with_name(f".{home.name}.lock")):
                    cache = _whole(home) or _made(home, cases, config, found, as_seen)
            _note_home(home, as_seen)
        except OSError as error:
            raise MetsegError(
                f"cannot write the cache {home} ({error.strerror or error}); "
                "free disk space or set cache_dir to another folder"
            ) from error
    return replace(cache, neighbours=config.neighbours)


def _made(home: Path, cases: list[CaseFiles], config: Preprocessing, found: str, as_seen: str) -> SliceCache:
    """Fills a cache; the caller holds its lock."""
    if home.exists():
        told = f"the cache {home} is damaged and is made again from the scans"
        warnings.warn(told, MetsegWarning, stacklevel=3)
        shutil.rmtree(home)
    _clear_leftovers(home)
    work = home.with_name(f".{home.name}.part")
    try:
        work.mkdir()
        _fill(work, cases, config)
        if _key_as_seen(cases, config) != as_seen:
            raise MetsegError("the scans changed while they were read; call again when nobody writes to them")
        seal(work, home.name, fingerprint=found)
        work.rename(home)
        sync_folder(home.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _load(home)


def _clear_leftovers(home: Path) -> None:
    """Removes what killed processes left of any cache; the lock of this one is held."""
    for work in home.parent.glob(".*.part"):
        if work.name == f".{home.name}.part":
            shutil.rmtree(work, ignore_errors=True)
            continue
        with suppress(Timeout), FileLock(work.with_suffix(".lock"), timeout=0):
            shutil.rmtree(work, ignore_errors=True)


def _noted_home(folder: Path, as_seen: str) -> Path | None:
    try:
        name = (folder / ".known" / as_seen).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return folder / name if name.isalnum() else None


def _note_home(home: Path, as_seen: str) -> None:
    with suppress(MetsegError):  # a cache may lie where nobody can write
        write_text(home.parent / ".known" / as_seen, home.name, durable=False)


def _whole(home: Path) -> SliceCache | None:
    """Returns a cache, or None where there is none or it is damaged."""
    try:
        return _load(home)
    except Exception:  # NumPy, pandas and the system have kinds of their own
        return None


def _load(home: Path) -> SliceCache:
    meta = read_sealed(home / "meta.json")
    with open(home / "slices.csv", "rb") as file:
        text = file.read()
    images, masks = (np.load(home / name, mmap_mode="r") for name in _ARRAYS)
    slices = pd.read_csv(io.BytesIO(text), dtype=_COLUMNS, keep_default_na=False)
    if (
        meta["key"] != home.name
        or meta["slices_sha256"] != hashlib.sha256(text).hexdigest()
        or not len(images) == len(masks) == len(slices) == meta["slices"]
        or not _are_intact(home, meta["crc32"])
    ):
        raise ValueError(f"{home} is not as it was written")
    names = {"case_id": "category", "patient_id": "category"}  # a name is kept once, not once a slice
    return SliceCache(
        images=images, masks=masks, slices=slices.astype(names), fingerprint=meta["fingerprint"]
    )


def _are_intact(home: Path, expected: dict[str, list[int]]) -> bool:
    """Returns whether the arrays are those that were written.

    All is read only where the system tells of a change since it was last read: gigabytes at each start would
    take longer than all else. What a disk changes of itself is left to the disk's own checks.
    """
    now, noted = {name: _as_seen(home / name) for name in _ARRAYS}, home / "checked.json"
    with suppress(MetsegError):
        if read_json(noted) == now:
            return True
    if any(_sums(home / name) != expected[name] for name in _ARRAYS):
        return False
    with suppress(MetsegError):  # a cache may lie where nobody can write
        write_json(noted, now)
    return True


def _sums(path: Path) -> list[int]:
    """Returns a CRC-32 of each block of a file."""

    def sum_of(start: int) -> int:
        with open(path, "rb") as file:
            file.seek(start)
            return zlib.crc32(file.read(_BLOCK))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(sum_of, range(0, os.stat(path).st_size, _BLOCK)))


def seal(folder: Path, key: str, *, fingerprint: str) -> None:
    """Writes hashes of a cache's files into its `meta.json`, last of all, and brings them to the disk."""
    for name in (*_ARRAYS, "slices.csv"):
        sync_file(folder / name)
    content = (folder / "slices.csv").read_bytes()
    meta = {
        "key": key,
        "fingerprint": fingerprint,
        "slices": len(np.load(folder / "images.npy", mmap_mode="r")),
        "slices_sha256": hashlib.sha256(content).hexdigest(),
        "crc32": {name: _sums(folder / name) for name in _ARRAYS},
    }
    write_sealed(folder / "meta.json", meta)


def cache_home(cases: list[CaseFiles], config: Preprocessing, *, folder: Path) -> Path:
    """Returns where `open_cache` keeps a data set under these parameters, made already or not."""
    return Path(folder) / _key(cases, config, fingerprint(cases))


def _key(cases: list[CaseFiles], config: Preprocessing, found: str) -> str:
    digest = _digest(cases, config)
    digest.update(found.encode())
    return digest.hexdigest()[:16]


def _key_as_seen(cases: list[CaseFiles], config: Preprocessing) -> str:
    digest = _digest(cases, config)
    real = functools.cache(os.path.realpath)  # looks at every part of a path: once a folder, not once a file
    for path in files_of(cases):
        folder, name = os.path.split(path)
        digest.update(f"{os.path.join(real(folder), name)}|{_as_seen(path)}\n".encode())
    return digest.hexdigest()[:16]


def _as_seen(path: Path) -> list[int]:
    stat = os.stat(path)  # of what a link leads to
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _digest(cases: list[CaseFiles], config: Preprocessing):
    # Neighbours are put together when a slice is read: what is kept is the same with and without.
    parameters = config.model_dump_json(exclude={"neighbours"})
    digest = hashlib.sha256(f"{CACHE_VERSION} {parameters} {_code_version()}".encode())
    for case in cases:
        numbers = [files.slice_index for files in case.slices]
        digest.update(f"{case.case_id}|{case.patient_id}|{numbers}\n".encode())
    return digest


@functools.cache
def _code_version() -> str:
    source = "".join(map(inspect.getsource, (*COMPUTED_BY, network_slices)))
    versions = [cv2.__version__, np.__version__, PIL.__version__, tifffile.__version__]
    return " ".join([hashlib.sha256(source.encode()).hexdigest(), *versions])


class NetworkSlices(NamedTuple):
    """One case as it is kept, slices without neighbours.

    Attributes:
        images: (Z, S, S, 3) uint8.
        masks: (Z, S, S) bool.
        scan_lesion_px: (Z,) lesion pixels of each slice on the scan's own grid.
        hashes: Of each slice, see `content.slice_hash`.
        labels: The numbers by which the masks mark a lesion.
    """

    images: np.ndarray
    masks: np.ndarray
    scan_lesion_px: np.ndarray
    hashes: list[str]
    labels: frozenset[float] = frozenset()


def network_slices(files: CaseFiles, config: Preprocessing) -> NetworkSlices:
    """Reads one case and preprocesses it."""
    case = load_case(files)
    view = view_of(case.volume, config)
    images = np.stack([preprocess(image, config, view) for image in case.image])
    return NetworkSlices(
        images=np.rint(images * 255).astype(np.uint8),
        masks=np.stack([preprocess_mask(mask, config, view) for mask in case.mask]),
        scan_lesion_px=np.count_nonzero(case.mask, axis=(1, 2)),
        hashes=[slice_hash(image) for image in case.image],
        labels=case.labels.stored,
    )


def _write_header(file: BinaryIO, dtype: type, shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _fill(work: Path, cases: list[CaseFiles], config: Preprocessing) -> None:
    shape = (sum(len(case.slices) for case in cases), config.image_size, config.image_size)
    rows, labels = [], set[float]()
    # Appended, not memory-mapped: on a full disk a write fails, but a mapped page kills the process.
    with (
        open(work / "images.npy", "wb") as images,
        open(work / "masks.npy", "wb") as masks,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        _write_header(images, np.uint8, (*shape, 3))
        _write_header(masks, np.bool_, shape)
        # A few cases at a time: memory stays flat however many there are.
        for first in range(0, len(cases), 16):
            some = cases[first : first + 16]
            for case, found in zip(some, pool.map(partial(network_slices, config=config), some), strict=True):
                labels |= found.labels
                complain_of_classes(labels, f"masks of {case.case_id} and of other scans")
                images.write(found.images.tobytes())
                masks.write(found.masks.tobytes())
                lesion_px = np.count_nonzero(found.masks, axis=(1, 2))
                numbers = [files.slice_index for files in case.slices]
                columns = numbers, lesion_px, found.scan_lesion_px, found.hashes
                rows += [(case.case_id, case.patient_id, *row) for row in zip(*columns, strict=True)]
    pd.DataFrame(rows, columns=list(_COLUMNS)).to_csv(work / "slices.csv", index=False)
