"""Slices decoded and preprocessed once, then read as memory-mapped arrays.

A cache is named by a hash of the scans' content, who is in them, the parameters, and the code that computes.
"""

import functools
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import PIL
import tifffile
from filelock import FileLock, Timeout

from metseg.base.errors import MetsegError, MetsegWarning
from metseg.base.files import (
    file_sha256,
    read_json,
    read_sealed,
    sync_file,
    sync_folder,
    write_json,
    write_sealed,
    write_text,
)
from metseg.data.cases import CaseFiles
from metseg.data.content import files_of, fingerprint, stat_of
from metseg.data.readers.images import complain_of_classes
from metseg.preprocessing.neighbours import neighbour_rows, stacked
from metseg.preprocessing.pipeline import Preprocessing
from metseg.training.network_slices import read_in_turn

# What turns files into a cache: another code, another cache. A comment changes a key as well, which costs
# some seconds; that a change is overlooked would cost a training.
COMPUTED_BY = ("preprocessing/*.py", "masks/head.py", "data/readers/*.py", "data/volume.py", "data/cases.py")
COMPUTED_BY += ("data/scan.py", "data/grid.py", "data/content.py", "training/cache.py")
COMPUTED_BY += ("training/network_slices.py", "masks/outline.py")
_COLUMNS = {"case_id": str, "patient_id": str, "slice_index": "int32", "lesion_px": "int32"}
_COLUMNS |= {"scan_lesion_px": "int32", "image_hash": str}
_FILES = ("images.npy", "masks.npy", "slices.csv")


@dataclass(frozen=True)
class SliceCache:
    """All slices of a data set as network input.

    `slices` has a row a slice, a case's slices in order: case_id, patient_id, slice_index, lesion_px (on the
    network's grid), scan_lesion_px (on the scan's own), image_hash (`content.slice_hash`). Lesion is the main
    region.
    """

    images: np.ndarray  # (N, S, S, 3) uint8, memory-mapped; divided by 255 what `preprocess` returned
    masks: np.ndarray  # (N, S, S) bool, memory-mapped; (N, S, S, T) of several regions, the main one first
    slices: pd.DataFrame
    fingerprint: str  # hash of every file's name and content
    affines: Mapping[str, np.ndarray | None] = field(default_factory=dict)  # by case, see `network_affine`
    neighbours: int = 0  # slices on each side that belong to a slice's network input

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

    What the system tells of the files is noted beside it, so that a second run need not read them. A cache is
    filled under a temporary name and renamed; a damaged one is made again, and a warning says so.

    Raises:
        MetsegError: A file is wrong or changes meanwhile, or the folder cannot be written to.
    """
    folder, seen = Path(folder), cache_key(cases, config, _as_seen(cases))
    note, cache = folder / ".known" / seen, None
    with suppress(OSError, ValueError):
        cache = _whole(folder / note.read_text(encoding="utf-8"))
    if cache is None:
        content = fingerprint(cases)
        home = folder / cache_key(cases, config, content)
        cache = _whole(home)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if cache is None:
                with FileLock(home.with_name(f".{home.name}.lock")):
                    cache = _whole(home) or _made(home, cases, config, content, seen)
            with suppress(MetsegError):  # a cache may lie where nobody can write
                write_text(note, home.name, durable=False)
        except OSError as error:
            raise MetsegError(
                f"cannot write the cache {home} ({error.strerror or error}); "
                "free disk space or set cache_dir to another folder"
            ) from error
    return replace(cache, neighbours=config.neighbours)


def cache_key(cases: Iterable[CaseFiles], config: Preprocessing, content: str) -> str:
    """Returns the name of the cache of files with this content, such as `content.fingerprint` tells it."""
    # Neighbours are put together when a slice is read: what is kept is the same with and without.
    digest = sha256(f"{config.model_dump_json(exclude={'neighbours'})} {_code_version()}".encode())
    for case in cases:
        known = [case.case_id, case.patient_id, *case.slice_numbers]
        if case.volumes:  # what the same files may be read as: other sequences, another lesion
            which = case.volumes.series_keys.items() if case.volumes.is_dicom else case.volumes.sequences
            known += sorted(which)
            regions = [sorted(numbers) for numbers in case.volumes.target.values()]
            known += regions[0] if len(regions) == 1 else regions
        digest.update(f"{known}\n".encode())
    return sha256(digest.digest() + content.encode()).hexdigest()[:16]


@functools.cache
def _code_version() -> str:
    package = Path(__file__).parents[1]
    files = [path for pattern in COMPUTED_BY for path in sorted(package.glob(pattern))]
    source = sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    return " ".join([source, cv2.__version__, np.__version__, PIL.__version__, tifffile.__version__])


def _as_seen(cases: list[CaseFiles]) -> str:
    digest = sha256()
    for path in files_of(cases):
        digest.update(f"{os.path.realpath(path)}|{[*stat_of(path)]}\n".encode())
    return digest.hexdigest()


def _whole(home: Path) -> SliceCache | None:
    """Returns a cache, or None where there is none or it is not as it was written."""
    try:
        meta = read_sealed(home / "meta.json")
        if meta["key"] != home.name or not _is_intact(home, meta["sha256"]):
            return None
        images, masks = (np.load(home / name, mmap_mode="r") for name in _FILES[:2])
        slices = pd.read_csv(home / "slices.csv", dtype=_COLUMNS, keep_default_na=False)
        affines = {case: told and np.array(told) for case, told in meta["affines"].items()}
    except Exception:  # NumPy, pandas and the system have kinds of their own
        return None
    names = dict.fromkeys(("case_id", "patient_id"), "category")  # a name is kept once, not once a slice
    return SliceCache(images, masks, slices.astype(names), meta["fingerprint"], affines)


def _is_intact(home: Path, expected: dict[str, str]) -> bool:
    """Reads all only where the system tells of a change since it was last read: gigabytes take long."""
    now, checked = {name: [*stat_of(home / name)] for name in _FILES}, home / "checked.json"
    with suppress(MetsegError):
        if read_json(checked) == now:
            return True
    intact = _hashes(home) == expected
    if intact:
        with suppress(MetsegError):  # a cache may lie where nobody can write
            write_json(checked, now)
    return intact


def _hashes(home: Path) -> dict[str, str]:
    return {name: file_sha256(home / name) for name in _FILES}


def _made(home: Path, cases: list[CaseFiles], config: Preprocessing, content: str, seen: str) -> SliceCache:
    """Fills a cache; the caller holds its lock."""
    if home.exists():
        warnings.warn(f"the cache {home} is damaged and is made again", MetsegWarning, stacklevel=3)
        shutil.rmtree(home)
    work = home.with_name(f".{home.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    for left in home.parent.glob(".*.part"):  # by killed processes
        with suppress(Timeout), FileLock(left.with_suffix(".lock"), timeout=0):
            shutil.rmtree(left, ignore_errors=True)
    try:
        work.mkdir()
        affines = _fill(work, cases, config)
        if cache_key(cases, config, _as_seen(cases)) != seen:
            raise MetsegError("the scans changed while they were read; call again when nobody writes to them")
        for name in _FILES:
            sync_file(work / name)
        known = {"key": home.name, "fingerprint": content, "affines": affines}
        write_sealed(work / "meta.json", {**known, "sha256": _hashes(work)})
        work.rename(home)
        sync_folder(home.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _whole(home)


def _fill(work: Path, cases: list[CaseFiles], config: Preprocessing) -> dict[str, list | None]:
    """Writes images, masks and table, and returns each case's affine."""
    affines: dict[str, list | None] = {}
    shape = (sum(len(case.slice_numbers) for case in cases), config.image_size, config.image_size)
    count = len(cases[0].volumes.target) if cases[0].volumes else 1
    labels, regions = set[float](), (count,) if count > 1 else ()
    # Appended, not memory-mapped: on a full disk a write fails, but a mapped page kills the process.
    with (
        open(work / "images.npy", "wb") as images,
        open(work / "masks.npy", "wb") as masks,
        open(work / "slices.csv", "w", encoding="utf-8", newline="") as table,
    ):
        for file, kind, sides in ((images, "|u1", (*shape, 3)), (masks, "|b1", (*shape, *regions))):
            header = {"descr": kind, "fortran_order": False, "shape": sides}
            np.lib.format.write_array_header_1_0(file, header)
        for case, found in read_in_turn(cases, config):
            if case.slices:
                labels |= found.labels
                complain_of_classes(labels, f"masks of {case.case_id} and of other scans")
            images.write(found.images.tobytes())
            masks.write(found.masks.tobytes())
            main = found.masks[..., 0] if regions else found.masks
            lesion_px = np.count_nonzero(main, axis=(1, 2))
            columns = case.slice_numbers, lesion_px, found.scan_lesion_px, found.hashes
            rows = [(case.case_id, case.patient_id, *row) for row in zip(*columns, strict=True)]
            these = pd.DataFrame(rows, columns=list(_COLUMNS))
            these.to_csv(table, index=False, header=case is cases[0], lineterminator="\n")
            affines[case.case_id] = None if found.affine is None else found.affine.tolist()
    return affines
