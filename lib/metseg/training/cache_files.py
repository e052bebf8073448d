"""A cache's files: two memory-mapped arrays, a table of their slices, and hashes by which damage is found."""

import functools
import hashlib
import io
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, read_sealed, sync_file, write_json, write_sealed
from metseg.preprocessing.neighbours import neighbour_rows, stacked
from metseg.training.cache_key import as_seen

COLUMNS = {"case_id": str, "patient_id": str, "slice_index": "int32", "lesion_px": "int32"}
COLUMNS |= {"scan_lesion_px": "int32", "image_hash": str}
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


def load_cache(home: Path) -> SliceCache:
    meta, text = read_sealed(home / "meta.json"), (home / "slices.csv").read_bytes()
    images, masks = (np.load(home / name, mmap_mode="r") for name in _ARRAYS)
    slices = pd.read_csv(io.BytesIO(text), dtype=COLUMNS, keep_default_na=False)
    if (
        meta["key"] != home.name
        or meta["slices_sha256"] != hashlib.sha256(text).hexdigest()
        or not len(images) == len(masks) == len(slices) == meta["slices"]
        or not _are_intact(home, meta["crc32"])
    ):
        raise ValueError(f"{home} is not as it was written")
    names = {"case_id": "category", "patient_id": "category"}  # a name is kept once, not once a slice
    return SliceCache(images, masks, slices.astype(names), meta["fingerprint"])


def _are_intact(home: Path, expected: dict[str, list[int]]) -> bool:
    """Returns whether the arrays are those that were written.

    All is read only where the system tells of a change since it was last read: gigabytes at each start would
    take longer than all else. What a disk changes of itself is left to the disk's own checks.
    """
    now, noted = {name: as_seen(home / name) for name in _ARRAYS}, home / "checked.json"
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
