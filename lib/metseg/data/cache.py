"""Slices decoded and preprocessed once, then read as memory-mapped arrays."""

import functools
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from filelock import FileLock

from metseg.data.cases import CaseFiles, load_case
from metseg.errors import MetsegError
from metseg.files import read_json, write_json
from metseg.neighbours import neighbour_rows, stacked
from metseg.preprocess import Preprocessing, preprocess, preprocess_mask, view_of

_COLUMNS = {
    "case_id": str,
    "patient_id": str,
    "slice_index": "int32",
    "lesion_px": "int32",
    "scan_lesion_px": "int32",
}
CACHE_VERSION = 3  # part of every key: raise it when decoding, preprocessing or what is kept changes


@dataclass(frozen=True)
class SliceCache:
    """All slices of a data set as network input.

    Attributes:
        images: (N, S, S, 3) uint8, memory-mapped; divided by 255 they are what `preprocess` returned.
        masks: (N, S, S) bool, memory-mapped.
        slices: One row a slice, a case's slices in order: case_id, patient_id, slice_index, lesion_px (on the
            network's grid), scan_lesion_px (on the scan's own, whatever the network sees).
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

    The key is made of the parameters and of every file's path, size and time of change, so that a second
    run need not read a scan. A cache is filled under a temporary name and renamed.

    Args:
        cases: Complete cases.
        config: How slices become network input.
        folder: Where caches live.

    Raises:
        MetsegError: A file is wrong, or the folder cannot be written to.
    """
    home = cache_home(cases, config, folder=folder)
    if not home.exists():
        work = home.with_name(f".{home.name}.part")
        try:
            work.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(home.with_name(f".{home.name}.lock")):
                shutil.rmtree(work, ignore_errors=True)  # what a killed process left
                try:
                    if not home.exists():
                        work.mkdir()
                        _fill(work, cases, config)
                        work.rename(home)
                finally:  # under the lock: whoever only waited for it must not remove another's work
                    shutil.rmtree(work, ignore_errors=True)
        except OSError as error:
            raise MetsegError(
                f"cannot write the cache {home} ({error.strerror or error}); "
                "free disk space or name another folder"
            ) from error
    try:
        return replace(_load(home), neighbours=config.neighbours)
    except (OSError, ValueError, KeyError, MetsegError) as error:
        raise MetsegError(f"the cache {home} is damaged; delete it, it will be made again") from error


def _load(home: Path) -> SliceCache:
    meta = read_json(home / "meta.json")
    return SliceCache(
        images=np.load(home / "images.npy", mmap_mode="r"),
        masks=np.load(home / "masks.npy", mmap_mode="r"),
        slices=pd.read_csv(home / "slices.csv", dtype=_COLUMNS, keep_default_na=False).astype(
            {"case_id": "category", "patient_id": "category"}  # a name is kept once, not once a slice
        ),
        fingerprint=meta["fingerprint"],
    )


def cache_home(cases: list[CaseFiles], config: Preprocessing, *, folder: Path) -> Path:
    """Returns where `open_cache` keeps a data set under these parameters, made already or not."""
    return Path(folder) / _key(cases, config)


def _key(cases: list[CaseFiles], config: Preprocessing) -> str:
    # Neighbours are put together when a slice is read: what is kept is the same with and without.
    parameters = config.model_dump_json(exclude={"neighbours"})
    digest = hashlib.sha256(f"{CACHE_VERSION} {parameters}".encode())
    real = functools.cache(os.path.realpath)  # looks at every part of a path: once a folder, not once a file
    for path in _paths(cases):
        folder, name = os.path.split(path)
        stat = os.stat(path)  # of what a link leads to
        digest.update(f"{os.path.join(real(folder), name)}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _paths(cases: list[CaseFiles]) -> list[Path]:
    return [path for case in cases for files in case.slices for path in (files.image, files.mask)]


def fingerprint(cases: list[CaseFiles]) -> str:
    """Returns a hash of the files' names and contents: the same wherever the data set lies."""
    digest = hashlib.sha256()
    for path in _paths(cases):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def network_slices(files: CaseFiles, config: Preprocessing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns one case preprocessed, slices without neighbours: (Z, S, S, 3) uint8 and (Z, S, S) bool.

    Third, the lesion pixels of each slice on the scan's own grid, (Z,).
    """
    case = load_case(files)
    view = view_of(case.image, config)
    images = np.stack([preprocess(image, config, view) for image in case.image])
    masks = np.stack([preprocess_mask(mask, config, view) for mask in case.mask])
    return np.rint(images * 255).astype(np.uint8), masks, np.count_nonzero(case.mask, axis=(1, 2))


def _write_header(file: BinaryIO, dtype: type, shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _fill(work: Path, cases: list[CaseFiles], config: Preprocessing) -> None:
    shape = (sum(len(case.slices) for case in cases), config.image_size, config.image_size)
    rows = []
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
            for case, (image, mask, lesion_px) in zip(
                some, pool.map(partial(network_slices, config=config), some), strict=True
            ):
                images.write(image.tobytes())
                masks.write(mask.tobytes())
                rows += [
                    (case.case_id, case.patient_id, files.slice_index, int(m.sum()), int(px))
                    for files, m, px in zip(case.slices, mask, lesion_px, strict=True)
                ]
    pd.DataFrame(rows, columns=list(_COLUMNS)).to_csv(work / "slices.csv", index=False)
    write_json(work / "meta.json", {"fingerprint": fingerprint(cases), **config.model_dump()})
