"""Slices decoded and preprocessed once, then read as memory-mapped arrays."""

import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from metseg.base.errors import MetsegError, MetsegWarning
from metseg.base.files import sync_folder, write_text
from metseg.data.cases import CaseFiles, load_case
from metseg.data.content import fingerprint, slice_hash
from metseg.data.readers.images import complain_of_classes
from metseg.preprocessing.pipeline import Preprocessing, preprocess_mask, preprocess_volume, view_of
from metseg.training.cache_files import COLUMNS, SliceCache, load_cache, seal
from metseg.training.cache_key import key_as_seen, key_of

_READ_AT_ONCE = 16  # cases: memory stays flat however many there are


def open_cache(cases: list[CaseFiles], config: Preprocessing, *, folder: Path) -> SliceCache:
    """Opens the cache of a data set under these parameters, and makes it first where there is none.

    A cache is named by `cache_key.key_of`. That a second run need not read a scan, `key_as_seen` is noted
    beside it; where that differs the files are read, and only where they differ is a new cache filled. It is
    filled under a temporary name and renamed, and has hashes of its files; a damaged one is made again, and a
    warning says so.

    Args:
        cases: Complete cases.
        config: How slices become network input.
        folder: Where caches live.

    Raises:
        MetsegError: A file is wrong or changes meanwhile, or the folder cannot be written to.
    """
    folder, seen = Path(folder), key_as_seen(cases, config)
    home = _noted_home(folder, seen)
    cache = home and _whole(home)
    if cache is None:
        found = fingerprint(cases)
        home = folder / key_of(cases, config, found)
        cache = _whole(home)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if cache is None:
                with FileLock(home.with_name(f".{home.name}.lock")):
                    cache = _whole(home) or _made(home, cases, config, found, seen)
            with suppress(MetsegError):  # a cache may lie where nobody can write
                write_text(folder / ".known" / seen, home.name, durable=False)
        except OSError as error:
            raise MetsegError(
                f"cannot write the cache {home} ({error.strerror or error}); "
                "free disk space or set cache_dir to another folder"
            ) from error
    return replace(cache, neighbours=config.neighbours)


def cache_home(cases: list[CaseFiles], config: Preprocessing, *, folder: Path) -> Path:
    """Returns where `open_cache` keeps a data set under these parameters, made already or not."""
    return Path(folder) / key_of(cases, config, fingerprint(cases))


def _made(home: Path, cases: list[CaseFiles], config: Preprocessing, found: str, seen: str) -> SliceCache:
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
        if key_as_seen(cases, config) != seen:
            raise MetsegError("the scans changed while they were read; call again when nobody writes to them")
        seal(work, home.name, fingerprint=found)
        work.rename(home)
        sync_folder(home.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return load_cache(home)


def _clear_leftovers(home: Path) -> None:
    """Removes what killed processes left of any cache; the lock of this one is held."""
    for work in home.parent.glob(".*.part"):
        if work.name == f".{home.name}.part":
            shutil.rmtree(work, ignore_errors=True)
            continue
        with suppress(Timeout), FileLock(work.with_suffix(".lock"), timeout=0):
            shutil.rmtree(work, ignore_errors=True)


def _noted_home(folder: Path, seen: str) -> Path | None:
    try:
        name = (folder / ".known" / seen).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return folder / name if name.isalnum() else None


def _whole(home: Path) -> SliceCache | None:
    """Returns a cache, or None where there is none or it is damaged."""
    try:
        return load_cache(home)
    except Exception:  # NumPy, pandas and the system have kinds of their own
        return None


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
    return NetworkSlices(
        images=np.rint(preprocess_volume(case.volume, config, view) * 255).astype(np.uint8),
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
        for first in range(0, len(cases), _READ_AT_ONCE):
            some = cases[first : first + _READ_AT_ONCE]
            for case, found in zip(some, pool.map(partial(network_slices, config=config), some), strict=True):
                labels |= found.labels
                complain_of_classes(labels, f"masks of {case.case_id} and of other scans")
                images.write(found.images.tobytes())
                masks.write(found.masks.tobytes())
                lesion_px = np.count_nonzero(found.masks, axis=(1, 2))
                numbers = [files.slice_index for files in case.slices]
                columns = numbers, lesion_px, found.scan_lesion_px, found.hashes
                rows += [(case.case_id, case.patient_id, *row) for row in zip(*columns, strict=True)]
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(work / "slices.csv", index=False)
